"""The graph's outputs as a DataFrame with named columns: ``params={"as_frame": True}``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

PROBABILITIES = "probabilities"


def frame_of(outputs: Mapping[str, Any], data: Any, classes: Sequence[str] = ()) -> pd.DataFrame:
    """One row for each row of ``data``, with its index where it is a frame.

    An output of a value a row is a column of its name; one of k values k columns, "NAME_0" and so
    on; probabilities are "probability_CLASS" where ``classes`` are known, and so are maps of them.
    Arrays of more axes stand in their column row by row.  ValueError for an output that has not a
    row for each row.
    """
    columns: dict[str, Any] = {}
    for name, values in outputs.items():
        columns |= _columns(name, values, classes)
    rows = rows_of(data)
    for name, values in columns.items():
        if rows is not None and len(values) != rows:
            raise ValueError(
                f"{name!r} has {len(values)} values for {rows} rows, which is no column; name other"
                " outputs in params['outputs'], or ask without as_frame"
            )
    return pd.DataFrame(columns, index=data.index if hasattr(data, "index") and rows else None)


def _columns(name: str, values: Any, classes: Sequence[str]) -> dict[str, Any]:
    if isinstance(values, list) and values and isinstance(values[0], Mapping):  # of ZipMap
        return {f"{_of_one(name)}_{key}": [row[key] for row in values] for key in values[0]}
    array = np.asarray(values)
    if array.ndim == 2 and array.shape[1] == 1:
        array = array[:, 0]
    if array.ndim == 2:
        known = classes if name == PROBABILITIES and len(classes) == array.shape[1] else None
        keys = known or range(array.shape[1])
        return {f"{_of_one(name)}_{key}": array[:, at] for at, key in enumerate(keys)}
    return {name: list(array) if array.ndim > 2 else np.atleast_1d(array)}


def _of_one(name: str) -> str:
    return "probability" if name == PROBABILITIES else name


def rows_of(data: Any) -> int | None:
    """How many rows ``data`` has; None where that depends on which of its values is asked."""
    if isinstance(data, str | bytes):
        return 1
    if isinstance(data, Mapping):
        lengths = {len(each) for each in data.values() if np.ndim(each)}
        return lengths.pop() if len(lengths) == 1 else None
    return len(data) if hasattr(data, "__len__") else None
