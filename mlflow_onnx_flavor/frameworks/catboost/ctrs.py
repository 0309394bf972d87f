"""CatBoost's statistics of the target by category (CTRs), as tables of numbers.

A table belongs to a combination of elements: categories, whether a number exceeds a border, whether
a category is a certain one.  Each element is a number (a category's hash, or 0 and 1), and an entry
of the table has one key for all of them, the sum of the numbers times an odd constant each, modulo
2**64.  An entry holds counters; a CTR makes a number of them in float32.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from mlflow_onnx_flavor.frameworks.catboost import binary
from mlflow_onnx_flavor.frameworks.catboost.binary import FREQUENCIES, MEANS, Base, Counters, Ctr

CATEGORY, EXCEEDS, IS = "category", "exceeds", "is"

_FACTOR = 0x4906BA494954CB65  # what CatBoost multiplies by when it takes in one more element


@dataclass(frozen=True)
class Element:
    """``feature``: its number among those with categories, or of EXCEEDS among those of numbers.

    ``value``: the border that is exceeded, or the hash of the category that it is.
    """

    kind: str
    feature: int
    value: float = 0


@dataclass(frozen=True)
class Table:
    """``keys``: uint64 of shape (entries,), ascending.  ``values``: float32 of shape (entries,
    CTRs); ``default``: of shape (CTRs,), where there is no entry.
    """

    elements: tuple[Element, ...]
    keys: np.ndarray
    values: np.ndarray
    default: np.ndarray

    @property
    def factors(self) -> np.ndarray:
        """Of each element, uint64; the first is taken in first and multiplied most often."""
        most = len(self.elements) + 1
        powers = [pow(_FACTOR, most - at, 2**64) for at in range(len(self.elements))]
        return np.array(powers, np.uint64)


@dataclass(frozen=True)
class Ctrs:
    """``tables``: those of more elements before those of fewer.  ``places``: of each CTR, in the
    model's order, its table and its column there.
    """

    tables: tuple[Table, ...]
    places: tuple[tuple[int, int], ...]


def ctrs_of(model: Any) -> Ctrs:
    """The CTRs of a CatBoost estimator."""
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
    """Hashes of 32 bits as the numbers that make a key: with their sign, modulo 2**64."""
    return np.array(hashes, np.int64).astype(np.uint64)


def lone_hashes(table: Table) -> list[int]:
    """The hashes (with their sign) of all categories in a table of one category alone."""
    (factor,) = table.factors.tolist()
    inverse = pow(factor, -1, 2**64)
    numbers = table.keys * np.uint64(inverse)
    return numbers.astype(np.int64).tolist()


def _elements(base: Base) -> tuple[Element, ...]:
    """In the order in which CatBoost takes them in."""
    return (
        *(Element(CATEGORY, feature) for feature in base.categories),
        *(Element(EXCEEDS, feature, border) for feature, border in base.borders),
        *(Element(IS, feature, value) for feature, value in base.values),
    )


def _table(
    elements: tuple[Element, ...], ctrs: Sequence[Ctr], counters: Mapping[Base, Counters]
) -> Table:
    """One table of all that is counted for the same elements."""
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
    """Of elements that were never seen together."""
    return _number(ctr, np.float32(0), counters.total if ctr.base.kind in FREQUENCIES else 0)


def _number(ctr: Ctr, good: Any, total: Any) -> Any:
    """In float32 from the first step to the last, as CatBoost computes it."""
    good, total = np.asarray(good, np.float32), np.asarray(total, np.float32)
    return ((good + ctr.prior) / (total + ctr.prior_weight) + ctr.shift) * ctr.scale
