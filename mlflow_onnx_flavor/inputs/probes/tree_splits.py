"""Rows that reach the splits of trees and stand on their thresholds, or one rounding beside."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

# Values above the first bound, up to and including the second.
Interval = tuple[float, float]

_MOST_ROWS = 3 * 1365


@dataclass(frozen=True)
class ColumnSplit:
    """A threshold that a tree compares ``column`` with.

    ``way``: the intervals of other columns that lead a row there.  ``dtype``: the precision in
    which the graph receives the column.
    """

    column: Hashable
    threshold: float
    way: Mapping[Hashable, Interval]
    dtype: np.dtype


def rows_at_splits(
    frame: pd.DataFrame, splits: Sequence[ColumnSplit], rng: np.random.Generator
) -> pd.DataFrame:
    """Return for each split a row on it and one on each side, otherwise like rows of ``frame``.

    A column of integers holds the nearest ones on both sides.
    """
    numeric = [name for name, dtype in frame.dtypes.items() if getattr(dtype, "kind", "") in "fiu"]
    splits = [each for each in splits if each.column in numeric]
    if len(splits) * 3 > _MOST_ROWS:
        kept = np.sort(rng.choice(len(splits), _MOST_ROWS // 3, replace=False))
        splits = [splits[at] for at in kept]
    if not splits:
        return frame.iloc[:0]
    bases = frame.iloc[np.repeat(rng.integers(0, len(frame), len(splits)), 3)]
    rows = bases.reset_index(drop=True)
    values = {name: rows[name].to_numpy(np.float64, na_value=np.nan).copy() for name in numeric}
    whole = {name for name in numeric if frame.dtypes[name].kind != "f"}
    for at, split in enumerate(splits):
        here = slice(3 * at, 3 * at + 3)
        for column, (low, high) in split.way.items():
            if column in values and not low < values[column][3 * at] <= high:
                inside = _inside(low, high)
                values[column][here] = np.floor(inside) if column in whole else inside
        on_and_beside = _on_and_beside(split)
        if split.column in whole:
            on_and_beside = np.floor(on_and_beside) + [0, 0, 1]
        values[split.column][here] = on_and_beside
    touched = {column for each in splits for column in (each.column, *each.way)}
    for name in touched & set(numeric):
        rows[name] = pd.Series(values[name]).astype(frame.dtypes[name])
    return rows


def _on_and_beside(split: ColumnSplit) -> np.ndarray:
    """Return the threshold and its neighbours, in the precision that the graph receives."""
    on = np.array(split.threshold, split.dtype)
    infinity = np.array(np.inf, split.dtype)
    return np.array([on, np.nextafter(on, -infinity), np.nextafter(on, infinity)], np.float64)


def _inside(low: float, high: float) -> float:
    if np.isinf(low):
        return high - max(abs(high), 1.0) * 0.01
    if np.isinf(high):
        return low + max(abs(low), 1.0) * 0.01
    return (low + high) / 2
