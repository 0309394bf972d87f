"""The columns that CatBoost's trees see where it has categories, in the graph.

They are the model's own columns, with codes in the place of categories, and one column for each
CTR.  An entry of a CTR's table is found element by element: what was found so far and the code of
the next element make a number that is looked up.  All tables are looked up at once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from mlflow_onnx_flavor.frameworks.catboost_categories import Categories
from mlflow_onnx_flavor.frameworks.catboost_ctrs import CATEGORY, EXCEEDS, IS, Element
from mlflow_onnx_flavor.frameworks.graph_parts import GraphParts
from mlflow_onnx_flavor.frameworks.tree_ensemble import EQ, GT, Tree, add_sum


def add_codes(parts: GraphParts, column: str, is_text: bool, texts: Mapping[str, int]) -> str:
    """The code of each category, int64 of the shape of ``column``; that after the last if unseen.

    ``column``: strings where ``is_text``, else int64.
    """
    keys: list[Any] = list(texts) if is_text else [int(each) for each in texts if _is_whole(each)]
    codes = [texts[str(each)] for each in keys]
    unseen = max(texts.values(), default=-1) + 1
    # A LabelEncoder must have a key.
    return _looked_up(parts, column, keys or [("" if is_text else 0)], codes or [unseen], unseen)


def add_ctrs(
    parts: GraphParts, rows: str, categories: Categories, numbers: Sequence[Mapping[str, Any]]
) -> str:
    """``rows``, and behind their columns one for each CTR; float64 of shape (rows, columns).

    ``rows``: float64, with codes in the place of categories.  ``numbers``: what the model's JSON
    says of its features of numbers.
    """
    ctrs = categories.ctrs
    if not ctrs.places:
        return rows
    every = list(dict.fromkeys(each for table in ctrs.tables for each in table.elements))
    elements = [each for kind in (CATEGORY, EXCEEDS, IS) for each in every if each.kind == kind]
    tries = _tries(categories, elements)
    values = _values(
        parts, _elements(parts, rows, elements, categories, numbers), tries, categories
    )
    return parts.add("Concat", rows, values, axis=1)


def _elements(
    parts: GraphParts,
    rows: str,
    elements: Sequence[Element],
    categories: Categories,
    numbers: Sequence[Mapping[str, Any]],
) -> str:
    """The code of each of ``elements``, which are in the order of their kinds, and a last column of
    zeros; int64.
    """
    chosen = [each for each in elements if each.kind == CATEGORY]
    codes = parts.columns(rows, [categories.columns[each.feature] for each in chosen])
    conditions = [
        _condition(each, categories, numbers) for each in elements if each.kind != CATEGORY
    ]
    holds = add_sum(parts, rows, conditions, range(len(conditions)), len(conditions) + 1)
    return parts.cast(parts.add("Concat", codes, holds, axis=1), np.int64)


def _condition(
    element: Element, categories: Categories, numbers: Sequence[Mapping[str, Any]]
) -> Tree:
    """A tree that gives 1 where the condition holds: compared as the model's own trees compare."""
    if element.kind == EXCEEDS:
        feature = numbers[element.feature]
        column, threshold, mode = feature["flat_feature_index"], element.value, GT
        exceeds = feature["nan_value_treatment"] == "AsTrue"
    else:
        code = categories.codes[element.feature][int(element.value)]
        column, threshold, mode, exceeds = categories.columns[element.feature], code, EQ, False
    return Tree(
        feature=np.array([column, 0, 0]),
        threshold=np.array([threshold, 0, 0], np.float64),
        mode=np.array([mode, GT, GT]),
        true_child=np.array([2, -1, -1]),
        false_child=np.array([1, -1, -1]),
        missing_true=np.array([exceeds, False, False]),
        value=np.array([[0.0], [0.0], [1.0]]),
    )


@dataclass(frozen=True)
class _Tries:
    """How entries are found: from ``roots`` on, step by step, to the number of an entry.

    ``steps``: of each the element that each table looks at, and the keys that lead on.  A key is
    what was found before times ``radix`` plus the element's code.  ``order``: of each entry that is
    found, its number among those of all tables one after the other.
    """

    roots: np.ndarray
    radix: int
    steps: Sequence[tuple[np.ndarray, np.ndarray]]
    order: np.ndarray


def _tries(categories: Categories, elements: Sequence[Element]) -> _Tries:
    """Tables with fewer elements than others look at nothing first, a code that is always 0."""
    tables, combinations = categories.ctrs.tables, categories.combinations
    number = {each: at for at, each in enumerate(elements)}
    depth = max(len(table.elements) for table in tables)
    radix = max([2, *(len(each) + 1 for each in categories.codes.values())])
    looked_at = np.full((depth, len(tables)), len(elements), np.int64)
    codes = np.zeros((depth, sum(len(each) for each in combinations)), np.int64)
    start = 0
    for at, (table, found) in enumerate(zip(tables, combinations, strict=True)):
        first = depth - len(table.elements)
        looked_at[first:, at] = [number[each] for each in table.elements]
        codes[first:, start : start + len(found)] = found.T
        start += len(found)
    state = np.repeat(np.arange(len(tables)), [len(each) for each in combinations])
    steps = []
    for step in range(depth):
        keys, state = np.unique(state * radix + codes[step], return_inverse=True)
        steps.append((looked_at[step], keys))
    return _Tries(np.arange(len(tables)), radix, steps, np.argsort(state))


def _values(parts: GraphParts, elements: str, tries: _Tries, categories: Categories) -> str:
    """The value of each CTR, float64 of shape (rows, CTRs).

    Each is a float32, but a table of these would be rounded to 8 bits with other weights.
    """
    found = parts.constant(tries.roots[None], np.int64)
    radix = parts.constant(tries.radix, np.int64)
    for looked_at, keys in tries.steps:
        codes = parts.columns(elements, looked_at)
        key = parts.add("Add", parts.add("Mul", found, radix), codes)
        # -1 is never found again: a key is then negative.
        found = _looked_up(parts, key, keys, np.arange(len(keys)), -1)
    tables, places = categories.ctrs.tables, categories.ctrs.places
    table_of = [table for table, _ in places]
    # All values in one row, table after table and entry after entry, and then the defaults.
    sizes = np.array([table.values.shape[1] for table in tables])
    entries = np.array([len(table.keys) for table in tables])
    first_entry = np.cumsum(entries) - entries
    first_value = np.cumsum(entries * sizes) - entries * sizes
    first_default = np.cumsum(sizes) - sizes + (entries * sizes).sum()
    in_order = [
        table.values[tries.order[first : first + len(table.keys)] - first]
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


def _looked_up(parts: GraphParts, value: str, keys: Any, values: Any, default: int) -> str:
    """int64 for each string or int64 of ``value``."""
    from onnx import helper, numpy_helper

    values = np.asarray(values, np.int64)
    texts = len(keys) > 0 and isinstance(keys[0], str)
    return parts.ml(
        "LabelEncoder",
        value,
        keys_tensor=helper.make_tensor("keys", 8, [len(keys)], [each.encode() for each in keys])
        if texts
        else numpy_helper.from_array(np.asarray(keys, np.int64), "keys"),
        values_tensor=numpy_helper.from_array(values, "values"),
        default_tensor=numpy_helper.from_array(np.array([default], np.int64), "default"),
    )


def _is_whole(text: str) -> bool:
    """Whether the text is that of a whole number of 64 bits."""
    digits = text.removeprefix("-")
    if not (digits.isascii() and digits.isdigit() and str(int(text)) == text):
        return False
    return -(2**63) <= int(text) < 2**63
