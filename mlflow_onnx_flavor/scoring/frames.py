"""Return the graph's outputs as a DataFrame with named columns: ``params={"as_frame": True}``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

PROBABILITIES = "probabilities"


def frame_of(outputs: Mapping[str, Any], data: Any, classes: Sequence[str] = ()) -> pd.DataFrame:
    """Return a frame with one row for each row of ``data``, and with the index of a data frame.

    - An output of one value a row is a column of its name.
    - An output of k values a row is k columns, "NAME_0" and so on.
    - Probabilities are "probability_CLASS" where ``classes`` are known, and so are maps of them.
    - An output with more axes is a column of arrays.

    Raises ValueError for an output that does not have a value for each row.
    """
    columns: dict[str, Any] = {}
    for name, values in outputs.items():
        for column, each in _columns(name, values, classes).items():
            if column in columns:
                raise ValueError(
                    f"two outputs make a column {column!r}; name one of them in params['outputs']"
                )
            columns[column] = each
    rows = rows_of(data)
    for name, values in columns.items():
        if rows is not None and len(values) != rows:
            raise ValueError(_no_column(name, f"has {len(values)} values for {rows} rows"))
    index = data.index if isinstance(data, pd.DataFrame | pd.Series) else None
    return pd.DataFrame(columns, index=index)


def _columns(name: str, values: Any, classes: Sequence[str]) -> dict[str, Any]:
    if isinstance(values, list) and values and isinstance(values[0], Mapping):  # ZipMap's
        return {f"{_of_one(name)}_{key}": [row[key] for row in values] for key in values[0]}
    if isinstance(values, list) and any(isinstance(each, np.ndarray) for each in values):
        raise ValueError(_no_column(name, "is a sequence of tensors"))
    array = np.asarray(values)
    if array.ndim == 2 and array.shape[1] == 1:
        array = array[:, 0]
    if array.ndim == 2:
        known = classes if name == PROBABILITIES and len(classes) == array.shape[1] else None
        keys = known or range(array.shape[1])
        return {f"{_of_one(name)}_{key}": array[:, at] for at, key in enumerate(keys)}
    return {name: list(array) if array.ndim > 2 else np.atleast_1d(array)}


def _no_column(name: str, why: str) -> str:
    return (
        f"{name!r} {why}, which is no column; name other outputs in params['outputs'], or ask"
        " without as_frame"
    )


def _of_one(name: str) -> str:
    return "probability" if name == PROBABILITIES else name


def rows_of(data: Any) -> int | None:
    """Return the number of rows of ``data``; None where its values do not agree on it."""
    if isinstance(data, str | bytes):
        return 1
    if isinstance(data, Mapping):
        lengths = {_length(each) for each in data.values() if np.ndim(each)}
        return lengths.pop() if len(lengths) == 1 else None
    return _length(data)


def _length(values: Any) -> int | None:
    shape = getattr(values, "shape", None)  # scipy's sparse arrays have no length
    if shape is not None:
        return shape[0] if len(shape) else None
    return len(values) if hasattr(values, "__len__") else None
