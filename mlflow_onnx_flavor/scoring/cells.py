"""Columns whose cells are arrays: lists, arrays within arrays, bytes of an image."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import numpy as np
import pandas as pd


def stacked(values: Any, dtype: np.dtype, name: str) -> Any:
    """Return one array of shape (rows, ...) if the cells of a column are arrays; else ``values``.

    Bytes are read as uint8 numbers where that is ``dtype``.  Raises ValueError, naming the column,
    where one cell is not an array or has another shape.
    """
    if isinstance(values, np.ndarray):
        cells = values
    elif values.dtype.kind == "O" and not isinstance(values, pd.Categorical):
        cells = values.to_numpy(dtype=object)  # Arrow's arrays
    else:
        return values
    if cells.dtype.kind != "O" or not any(_is_array(each, dtype) for each in cells):
        return values
    if not any(isinstance(each, bytes | bytearray) for each in cells):
        with suppress(ValueError):  # converting row by row below gives a better message
            return _of_nested(np.array(cells.tolist()), dtype)
    rows = [_dense(each, dtype, name, at) for at, each in enumerate(cells)]
    shapes = {row.shape for row in rows}
    if len(shapes) > 1:
        one, other, *_ = sorted(shapes)
        raise ValueError(f"{name!r} holds arrays of different shapes, {one} and {other}")
    return np.stack(rows)


def _is_array(cell: Any, dtype: np.dtype) -> bool:
    if isinstance(cell, bytes | bytearray):
        return dtype == np.uint8
    return isinstance(cell, list | tuple | np.ndarray)


def _dense(cell: Any, dtype: np.dtype, name: str, row: int) -> np.ndarray:
    if not _is_array(cell, dtype):
        raise ValueError(f"{name!r} holds {cell!r} in row {row}, where other rows hold arrays")
    if isinstance(cell, bytes | bytearray):
        return np.frombuffer(cell, np.uint8)
    try:
        return _of_nested(np.asarray(cell), dtype)
    except ValueError as error:
        raise ValueError(f"{name!r} holds lists of different lengths in row {row}") from error


def _of_nested(array: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """Return one dense array for arrays of arrays, which Arrow and Spark give."""
    while array.dtype.kind == "O" and array.size and _is_array(array.flat[0], dtype):
        array = np.array(array.tolist())
    return array
