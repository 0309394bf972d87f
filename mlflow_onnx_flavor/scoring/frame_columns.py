"""Read the columns of a DataFrame as arrays, at the least cost that pandas allows.

``frame[name]`` takes 13 µs a column and ``frame[names]`` 210 µs for ten, several times a small
model's own run; pandas' internal way takes 0.4 µs.  It is used where it exists, so a pandas version
that drops it costs time but changes no answer.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd


def _internal_column(frame: pd.DataFrame, position: int) -> Any:
    return frame._get_column_array(position)


def _public_column(frame: pd.DataFrame, position: int) -> Any:
    values = frame.iloc[:, position].array
    return values.to_numpy() if isinstance(values, pd.arrays.NumpyExtensionArray) else values


def _internal_block(frame: pd.DataFrame) -> np.ndarray | None:
    manager = frame._mgr
    if not manager.is_single_block:
        return None
    values = manager.blocks[0].values
    return values.T if type(values) is np.ndarray and values.dtype.kind in "fiub" else None


def _public_block(frame: pd.DataFrame) -> np.ndarray | None:
    return None


# Returns a column as a numpy or pandas array, to be read only: (frame, position) -> array.
column_values = _internal_column if hasattr(pd.DataFrame, "_get_column_array") else _public_column
# Returns the whole frame as one array of numbers, or None where its columns differ in dtype.
block_values = (
    _internal_block
    if hasattr(getattr(pd.DataFrame(), "_mgr", None), "is_single_block")
    else _public_block
)


class ColumnLocator:
    """The positions of named columns in any frame, in any order and among others."""

    def __init__(self, names: tuple[str, ...]):
        self._names = names
        self._expected = pd.Index(names)
        self._in_order = tuple(range(len(names)))

    def positions(self, frame: pd.DataFrame) -> tuple[int, ...] | None:
        """Return the position of each column; None if the frame is these columns in this order.

        Raises ValueError for a column that is missing or there twice.
        """
        columns = frame.columns
        # An index compares itself in 6 µs, its array in 1.
        if type(columns) is pd.Index and columns.array.equals(self._expected.array):
            return None
        if columns.equals(self._expected):
            return None
        found: dict[str, int] = {}
        for position, name in enumerate(columns.tolist()):
            key = name if isinstance(name, str) else str(name)
            found[key] = -1 if key in found else position
        missing = [name for name in self._names if name not in found]
        if missing:
            raise ValueError(f"the columns {missing} are missing; got {list(found)}")
        located = tuple(found[name] for name in self._names)
        if -1 in located:
            twice = self._names[located.index(-1)]
            raise ValueError(f"the column {twice!r} is there more than once")
        return located

    def located(self, frame: pd.DataFrame) -> tuple[int, ...]:
        """Return `positions`, written out where the columns are in order."""
        positions = self.positions(frame)
        return self._in_order if positions is None else positions
