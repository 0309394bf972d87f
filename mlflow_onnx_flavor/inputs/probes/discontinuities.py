"""Jumps of a model's answer: thresholds that no graph shows, found by calling the model alone.

One column of a row is swept over its range; an interval between two values whose answers differ is
halved, and the half in which the change stays is kept.  A smooth answer's change shrinks with the
interval; a jump's does not.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd

# Scores of rows, shape (rows, scores).
Scores = Callable[[pd.DataFrame], np.ndarray]

_BASES, _COLUMNS, _GRID, _MOST = 4, 16, 33, 64
_HALVINGS, _LEAST_SHARE = 14, 0.25

# The distance of the probes from a jump, as a share of the column's range: a faithful candidate may
# compute the place of the jump with a rounding error.
_BESIDE = 1e-4


@dataclass(frozen=True)
class _Intervals:
    """Intervals of ``column`` in rows like ``rows``; each array has shape (intervals,)."""

    rows: pd.DataFrame
    columns: np.ndarray
    low: np.ndarray
    high: np.ndarray

    def at(self, values: np.ndarray) -> pd.DataFrame:
        """Return the rows, each with its value of ``values`` in the column of its interval."""
        made = self.rows.reset_index(drop=True)
        for column in np.unique(self.columns):
            here = self.columns == column
            new = made.iloc[:, column].to_numpy(copy=True)
            new[here] = values[here]
            made.isetitem(column, pd.Series(new))
        return made

    def take(self, which: np.ndarray) -> _Intervals:
        return _Intervals(
            self.rows.iloc[which], self.columns[which], self.low[which], self.high[which]
        )


def rows_beside_jumps(
    frame: pd.DataFrame, scores: Scores, rng: np.random.Generator
) -> pd.DataFrame:
    """Return pairs of rows, one on each side of a jump, in the columns and dtypes of ``frame``."""
    columns = [at for at, dtype in enumerate(frame.dtypes) if getattr(dtype, "kind", "") == "f"]
    columns = [at for at in columns if isinstance(frame.dtypes.iloc[at], np.dtype)]
    rng.shuffle(columns)
    found = _swept(frame, columns[:_COLUMNS], scores, rng)
    if found is None:
        return frame.iloc[:0]
    low, high = scores(found.at(found.low)), scores(found.at(found.high))
    first = np.abs(high - low).max(axis=1)
    for _ in range(_HALVINGS):
        middle = (found.low + found.high) / 2
        answered = scores(found.at(middle))
        left = np.abs(answered - low).max(axis=1) >= np.abs(high - answered).max(axis=1)
        found = _Intervals(
            found.rows,
            found.columns,
            np.where(left, found.low, middle),
            np.where(left, middle, found.high),
        )
        low, high = (
            np.where(left[:, None], low, answered),
            np.where(left[:, None], answered, high),
        )
    jumps = np.flatnonzero(np.abs(high - low).max(axis=1) > _LEAST_SHARE * first)
    if not len(jumps):
        return frame.iloc[:0]
    found = found.take(jumps)
    ranges = frame.iloc[:, found.columns].agg(np.ptp).to_numpy(np.float64)
    beside = [found.at(found.low - _BESIDE * ranges), found.at(found.high + _BESIDE * ranges)]
    return pd.concat(beside, ignore_index=True).astype(frame.dtypes.to_dict())


def _swept(
    frame: pd.DataFrame, columns: list[int], scores: Scores, rng: np.random.Generator
) -> _Intervals | None:
    """Return some neighbouring values of a sweep between which the answer changes."""
    bases = frame.iloc[rng.permutation(len(frame))[:_BASES]]
    rows, places, low, high = [], [], [], []
    for column in columns:
        values = frame.iloc[:, column].to_numpy(np.float64)
        values = values[np.isfinite(values)]
        if not len(values) or values.min() == values.max():
            continue
        grid = np.linspace(values.min(), values.max(), _GRID)
        for base in range(len(bases)):
            rows += [base] * (_GRID - 1)
            places += [column] * (_GRID - 1)
            low.append(grid[:-1])
            high.append(grid[1:])
    if not rows:
        return None
    swept = _Intervals(
        bases.iloc[rows], np.array(places), np.concatenate(low), np.concatenate(high)
    )
    change = np.abs(scores(swept.at(swept.high)) - scores(swept.at(swept.low))).max(axis=1)
    changing = np.flatnonzero(np.nan_to_num(change) > 0)
    if not len(changing):
        return None
    return swept.take(np.sort(rng.permutation(changing)[:_MOST]))
