"""Read rows with named values, and tables of other libraries, as data frames and arrays."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd


def is_record(row: Any) -> bool:
    """Return whether the row's values have names: dictionary, series, Spark row or named tuple."""
    return isinstance(row, Mapping | pd.Series) or hasattr(row, "asDict") or hasattr(row, "_asdict")


def frame_of_records(rows: Sequence[Any]) -> pd.DataFrame:
    """Return a frame with a column for each name, in any order.

    Raises ValueError for a row that has no names.
    """
    return pd.DataFrame([_named(row, number) for number, row in enumerate(rows)])


def as_plain_array(array: np.ndarray) -> np.ndarray:
    """Return the array without its subclass; masked values become missing ones."""
    if isinstance(array, np.ma.MaskedArray) and array.mask.any():
        values = array.data.astype(object)
        values[array.mask] = None
        return values
    return np.asarray(array)


def _named(row: Any, number: int) -> Mapping[str, Any]:
    if isinstance(row, Mapping):
        return row
    for method in ("asDict", "_asdict", "to_dict"):
        if is_record(row) and hasattr(row, method):
            return getattr(row, method)()
    raise ValueError(f"row {number} is {row!r}, where the rows before it name their values")
