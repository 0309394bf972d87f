"""The search for the categories behind each entry of a table, which stores only a sum of hashes.

The available rows explain most entries.  For the others all combinations of known categories are
tried.  If there are too many, the table's elements are cut into two halves: a key minus a sum of
one half must be a sum of the other half.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mlflow_onnx_flavor.frameworks.catboost.ctrs import Table

# The most sums tried for one table, which takes one second.
_MOST_SUMS = 2**23


def explained(table: Table, numbers: Sequence[np.ndarray], seen: np.ndarray) -> np.ndarray:
    """Return the position of each entry's elements among their ``numbers``, -1 if unexplained.

    The result is int64 of shape (entries, elements).  ``numbers``: for each element its possible
    numbers, uint64.  ``seen``: combinations in the rows, as such positions; -1 marks a value that
    is not among the numbers.
    """
    terms = [each * factor for each, factor in zip(numbers, table.factors, strict=True)]
    found = np.full((len(table.keys), len(terms)), -1, np.int64)
    seen = seen[(seen >= 0).all(axis=1)]
    if len(seen) and len(found):
        _match(table.keys, _sums(terms, seen), seen, found)
    left = table.keys[found[:, 0] < 0]
    if len(left) and all(len(each) for each in terms):
        _match(table.keys, *_tried(left, terms), found)
    return found


def _match(keys: np.ndarray, sums: np.ndarray, combinations: np.ndarray, found: np.ndarray) -> None:
    """Write the combinations whose sums are among ``keys`` (ascending) into ``found``."""
    at = np.minimum(np.searchsorted(keys, sums), len(keys) - 1)
    hit = keys[at] == sums
    found[at[hit]] = combinations[hit]


def _sums(terms: Sequence[np.ndarray], combinations: np.ndarray) -> np.ndarray:
    total = np.zeros(len(combinations), np.uint64)
    for at, each in enumerate(terms):
        total += each[combinations[:, at]]
    return total


def _tried(keys: np.ndarray, terms: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Return the sums that are among ``keys`` and their combinations; none if too many to try."""
    sizes = [len(each) for each in terms]
    if np.prod(sizes, dtype=float) <= _MOST_SUMS:
        sums = _all_sums(terms)
        hit = np.flatnonzero(np.isin(sums, keys))
        return sums[hit], _combinations(hit, sizes)
    halves = []
    for at in range(1, len(sizes)):
        left, right = np.prod(sizes[:at], dtype=float), np.prod(sizes[at:], dtype=float)
        work = len(keys) * min(left, right)
        if max(left, right, work) <= _MOST_SUMS:
            halves.append((work, left <= right, at))
    if not halves:
        return np.zeros(0, np.uint64), np.zeros((0, len(sizes)), np.int64)
    _, left_is_tried, at = min(halves)
    first, second = _all_sums(terms[:at]), _all_sums(terms[at:])
    tried, other = (first, second) if left_is_tried else (second, first)
    order = np.argsort(other)
    rest = (keys[:, None] - tried).ravel()
    place = np.minimum(np.searchsorted(other, rest, sorter=order), len(other) - 1)
    hit = np.flatnonzero(other[order[place]] == rest)
    pair = (hit % len(tried), order[place[hit]])
    left, right = pair if left_is_tried else pair[::-1]
    return (
        first[left] + second[right],
        np.hstack([_combinations(left, sizes[:at]), _combinations(right, sizes[at:])]),
    )


def _all_sums(terms: Sequence[np.ndarray]) -> np.ndarray:
    """Return the sum of every combination, with the last element's position varying fastest."""
    total = np.zeros(1, np.uint64)
    for each in terms:
        total = (total[:, None] + each).ravel()
    return total


def _combinations(numbers: np.ndarray, sizes: Sequence[int]) -> np.ndarray:
    return np.stack(np.unravel_index(numbers, tuple(sizes)), axis=1).astype(np.int64)
