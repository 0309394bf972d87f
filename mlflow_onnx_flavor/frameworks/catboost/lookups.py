"""The lookup of entries of CatBoost's tables in the graph, by the codes of their elements.

The graph goes element by element, for all tables at once: the result so far and the code of the
next element make a number, which is looked up.  CatBoost's own keys would need arithmetic modulo
2**64, which not every execution provider has; these numbers stay as small as possible.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from onnx import helper, numpy_helper

from mlflow_onnx_flavor.frameworks.catboost.categories import Categories
from mlflow_onnx_flavor.frameworks.catboost.ctrs import Element
from mlflow_onnx_flavor.onnx_graph.builder import GraphParts


def add_mapping(
    parts: GraphParts,
    value: str,
    keys: Sequence[Any] | np.ndarray,
    values: Sequence[int],
    default: int,
) -> str:
    """Return int64 for each string or int64 of ``value``: the one of ``values`` at its key's place.

    A value that is not among ``keys`` becomes ``default``.
    """
    if isinstance(keys[0], str):
        known = helper.make_tensor("keys", 8, [len(keys)], [each.encode() for each in keys])
    else:
        known = numpy_helper.from_array(np.asarray(keys, np.int64), "keys")
    return parts.ml(
        "LabelEncoder",
        value,
        keys_tensor=known,
        values_tensor=numpy_helper.from_array(np.asarray(values, np.int64), "values"),
        default_tensor=numpy_helper.from_array(np.array([default], np.int64), "default"),
    )


def add_values(
    parts: GraphParts, codes: str, elements: Sequence[Element], categories: Categories
) -> str:
    """Return the value of each CTR, float64 of shape (rows, CTRs).

    ``codes``: the code of each of ``elements``, int64 of shape (rows, elements).  The values are
    float32, but they are stored as float64, since the int8
    candidate would quantize a float32 table to 8 bits, as it does weights.
    """
    tables, places = categories.ctrs.tables, categories.ctrs.places
    found, order = _entries(parts, codes, elements, categories)
    table_of = [table for table, _ in places]
    # One vector holds all values, table after table and entry after entry, and then the defaults.
    sizes = np.array([table.values.shape[1] for table in tables])
    entries = np.array([len(table.keys) for table in tables])
    first_entry = np.cumsum(entries) - entries
    first_value = np.cumsum(entries * sizes) - entries * sizes
    first_default = np.cumsum(sizes) - sizes + (entries * sizes).sum()
    in_order = [
        table.values[order[first : first + len(table.keys)] - first]
        for table, first in zip(tables, first_entry, strict=True)
    ]
    every = [each.ravel() for each in in_order] + [table.default for table in tables]
    stride = sizes[table_of]
    column = np.array([column for _, column in places])
    start = first_value[table_of] - first_entry[table_of] * stride + column
    entry = parts.columns(found, table_of)
    at = parts.add("Mul", entry, parts.constant(stride[None], np.int64))
    at = parts.add("Add", at, parts.constant(start[None], np.int64))
    missing = parts.add("Less", entry, parts.constant(0, np.int64))
    default = parts.constant((first_default[table_of] + column)[None], np.int64)
    at = parts.add("Where", missing, default, at)
    return parts.add("Gather", parts.constant(np.concatenate(every), np.float64), at, axis=0)


def _entries(
    parts: GraphParts, codes: str, elements: Sequence[Element], categories: Categories
) -> tuple[str, np.ndarray]:
    """Return the entry found in each table, int64 of shape (rows, tables), -1 for none.

    The second result gives, for each entry found, its number among those of all tables, one table
    after the other.
    """
    found = ""
    steps, radix, order = _steps(elements, categories)
    for step in steps:
        keys = []
        if found:  # a key made with -1 is negative, so it is never found again
            before = parts.add("Mul", found, parts.constant(radix, np.int64))
            keys.append(parts.add("Add", before, parts.columns(codes, step.looked_at)))
        if len(step.joining):
            roots = parts.constant(step.roots[None] * radix, np.int64)
            keys.append(parts.add("Add", roots, parts.columns(codes, step.joining)))
        key = keys[0] if len(keys) == 1 else parts.add("Concat", *keys, axis=1)
        found = add_mapping(parts, key, step.keys, range(len(step.keys)), -1)
    return found, order


@dataclass(frozen=True)
class _Step:
    """One step of the lookup.

    ``looked_at``: the current element of each table that has begun.  ``joining``: the first element
    of each table that begins here; its number in ``roots`` stands for the result so far.  ``keys``:
    the keys that continue to an entry.
    """

    looked_at: Sequence[int]
    joining: Sequence[int]
    roots: np.ndarray
    keys: np.ndarray


def _steps(
    elements: Sequence[Element], categories: Categories
) -> tuple[list[_Step], int, np.ndarray]:
    """Return the steps, the radix of keys, and the entries in the order in which they are found.

    The tables with the most elements come first and begin first, so that all end together.  A key
    is the result so far times the radix plus the code of the element.
    """
    tables, combinations = categories.ctrs.tables, categories.combinations
    number = {each: at for at, each in enumerate(elements)}
    lengths = np.array([len(table.elements) for table in tables])
    entries = [len(each) for each in combinations]
    radix = max([2, *(len(each) + 1 for each in categories.codes.values())])
    state, steps, begun, known = np.zeros(0, np.int64), [], 0, 0
    for step in range(lengths.max()):
        left = lengths.max() - step  # the number of elements left, including this one
        taking = int((lengths >= left).sum())
        looked_at = [number[table.elements[-left]] for table in tables[:taking]]
        roots = known + np.arange(taking - begun)
        state = np.concatenate([state, np.repeat(roots, entries[begun:taking])])
        code = np.concatenate([each[:, -left] for each in combinations[:taking]])
        keys, state = np.unique(state * radix + code, return_inverse=True)
        steps.append(_Step(looked_at[:begun], looked_at[begun:], roots, keys))
        begun, known = taking, len(keys)
    return steps, radix, np.argsort(state)
