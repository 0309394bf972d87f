"""CatBoost's statistics of the target by category (CTRs), as tables of numbers.

A table belongs to a combination of elements: a category, a test that a number exceeds a border, or
a test that a category is a certain one.  Each element is a number (a category's hash, or 0 or 1).
An entry of the table has one key: the sum of these numbers, each times its own odd constant, modulo
2**64.  An entry holds counters; a CTR computes a number from them in float32.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from mlflow_onnx_flavor.frameworks.catboost import binary
from mlflow_onnx_flavor.frameworks.catboost.binary import FREQUENCIES, MEANS, Base, Counters, Ctr

CATEGORY, EXCEEDS, IS = "category", "exceeds", "is"

_FACTOR = 0x4906BA494954CB65  # CatBoost's factor for each further element of a key


@dataclass(frozen=True)
class Element:
    """One element of a combination.

    ``feature``: its number among the features with categories, or for EXCEEDS among the float
    features.  ``value``: the border that is exceeded, or the hash of the required category.
    """

    kind: str
    feature: int
    value: float = 0


@dataclass(frozen=True)
class Table:
    """The CTRs of one combination of elements.

    ``keys``: uint64 of shape (entries,), ascending.  ``values``: float32 of shape (entries, CTRs);
    ``default``: values of shape (CTRs,) for rows without an entry.
    """

    elements: tuple[Element, ...]
    keys: np.ndarray
    values: np.ndarray
    default: np.ndarray

    @property
    def factors(self) -> np.ndarray:
        """The factor of each element in a key, uint64; the first element has the highest power."""
        most = len(self.elements) + 1
        powers = [pow(_FACTOR, most - at, 2**64) for at in range(len(self.elements))]
        return np.array(powers, np.uint64)


@dataclass(frozen=True)
class Ctrs:
    """The CTRs of a model.

    ``tables``: those with more elements before those with fewer.  ``places``: for each CTR, in the
    model's order, the number of its table and its column there.
    """

    tables: tuple[Table, ...]
    places: tuple[tuple[int, int], ...]


def ctrs_of(model: Any) -> Ctrs:
    """Return the CTRs of a CatBoost estimator."""
    ctrs, counters = binary.stored(model)
    groups: dict[tuple[Element, ...], list[Ctr]] = {}
    places = []
    for each in ctrs:
        group = groups.setdefault(_elements(each.base), [])
        places.append((_elements(each.base), len(group)))
        group.append(each)
    in_order = sorted(groups, key=len, reverse=True)
    numbers = {elements: at for at, elements in enumerate(in_order)}
    return Ctrs(
        tables=tuple(_table(each, groups[each], counters) for each in in_order),
        places=tuple((numbers[elements], column) for elements, column in places),
    )


def as_numbers(hashes: Sequence[int]) -> np.ndarray:
    """Return signed 32-bit hashes as the numbers that keys are made of, modulo 2**64."""
    return np.array(hashes, np.int64).astype(np.uint64)


def lone_hashes(table: Table) -> list[int]:
    """Return the signed hashes of all categories in a table of one category alone."""
    (factor,) = table.factors.tolist()
    inverse = pow(factor, -1, 2**64)
    numbers = table.keys * np.uint64(inverse)
    return numbers.astype(np.int64).tolist()


def _elements(base: Base) -> tuple[Element, ...]:
    """Return the elements in the order in which CatBoost combines them into a key."""
    return (
        *(Element(CATEGORY, feature) for feature in base.categories),
        *(Element(EXCEEDS, feature, border) for feature, border in base.borders),
        *(Element(IS, feature, value) for feature, value in base.values),
    )


def _table(
    elements: tuple[Element, ...], ctrs: Sequence[Ctr], counters: Mapping[Base, Counters]
) -> Table:
    """Return the table of all CTRs of the same elements."""
    keys = np.unique(np.concatenate([counters[each.base].keys for each in ctrs]))
    default = np.array([_of_nothing(each, counters[each.base]) for each in ctrs], np.float32)
    values = np.tile(default, (len(keys), 1))
    for column, each in enumerate(ctrs):
        counted = counters[each.base]
        values[np.searchsorted(keys, counted.keys), column] = _of_entries(each, counted)
    return Table(elements, keys, values, default)


def _of_entries(ctr: Ctr, counters: Counters) -> np.ndarray:
    counts, kind = counters.counts, ctr.base.kind
    if kind in MEANS:
        return _number(ctr, counts[:, 0], counts[:, 1])
    if kind in FREQUENCIES:
        return _number(ctr, counts[:, 0], counters.total)
    if kind == "Buckets":
        return _number(ctr, counts[:, ctr.border], counts.sum(axis=1))
    return _number(ctr, counts[:, ctr.border + 1 :].sum(axis=1), counts.sum(axis=1))


def _of_nothing(ctr: Ctr, counters: Counters) -> np.float32:
    """Return the CTR of a combination that was never seen."""
    return _number(ctr, np.float32(0), counters.total if ctr.base.kind in FREQUENCIES else 0)


def _number(ctr: Ctr, good: Any, total: Any) -> Any:
    """Return the CTR, computed in float32 throughout, as in CatBoost."""
    good, total = np.asarray(good, np.float32), np.asarray(total, np.float32)
    return ((good + ctr.prior) / (total + ctr.prior_weight) + ctr.shift) * ctr.scale
