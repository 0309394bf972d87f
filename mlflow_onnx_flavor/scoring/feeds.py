"""From what a consumer gives to what the graph takes: frames, arrays, dictionaries -> feeds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

_OF_ONNX = {
    "tensor(float)": "float32",
    "tensor(double)": "float64",
    "tensor(float16)": "float16",
    "tensor(int8)": "int8",
    "tensor(int16)": "int16",
    "tensor(int32)": "int32",
    "tensor(int64)": "int64",
    "tensor(uint8)": "uint8",
    "tensor(uint16)": "uint16",
    "tensor(uint32)": "uint32",
    "tensor(uint64)": "uint64",
    "tensor(bool)": "bool",
    "tensor(string)": "object",
}


class Feeder:
    """Makes the feeds of one graph.

    ``feeds``: the graph specification's entries, each ``{"name", "layout", "dtype", "columns",
    "key"}``.  Thread-safe: it keeps no state between calls.
    """

    def __init__(self, feeds: list[Mapping[str, Any]]):
        self._feeds = [
            (
                feed["name"],
                feed["layout"],
                np.dtype(feed["dtype"]),
                list(feed.get("columns") or ()),
                feed.get("key") or feed["name"],
            )
            for feed in feeds
        ]

    def feeds(self, data: Any) -> dict[str, np.ndarray]:
        """The arrays to run on.  Raises ValueError naming the column or input that does not fit."""
        if isinstance(data, pd.DataFrame):
            return self._from_frame(data)
        if isinstance(data, Mapping):
            return self._from_mapping(data)
        if isinstance(data, pd.Series):
            return self._from_frame(data.to_frame())
        if hasattr(data, "toarray"):  # scipy sparse
            data = data.toarray()
        return self._from_array(np.asarray(data))

    def _from_array(self, array: np.ndarray) -> dict[str, np.ndarray]:
        if len(self._feeds) == 1:
            name, _, dtype, _, _ = self._feeds[0]
            return {name: _cast(array, dtype, name)}
        if array.ndim != 2 or array.shape[1] != len(self._feeds):
            raise ValueError(
                f"the model takes the inputs {[feed[0] for feed in self._feeds]}; give a data frame"
                f" or a dictionary of arrays, not one array of shape {array.shape}"
            )
        return {
            name: _cast(array[:, position : position + 1], dtype, name)
            for position, (name, _, dtype, _, _) in enumerate(self._feeds)
        }

    def _from_mapping(self, data: Mapping[str, Any]) -> dict[str, np.ndarray]:
        if any(layout != "tensor" for _, layout, _, _, _ in self._feeds):
            return self._from_frame(pd.DataFrame(dict(data)))
        feeds = {}
        for name, _, dtype, _, key in self._feeds:
            found = data.get(key, data.get(name))
            if found is None:
                raise ValueError(f"input {key!r} is missing; got {sorted(map(str, data))}")
            feeds[name] = _cast(np.asarray(found), dtype, key)
        return feeds

    def _from_frame(self, frame: pd.DataFrame) -> dict[str, np.ndarray]:
        feeds = {}
        for name, layout, dtype, columns, key in self._feeds:
            if layout == "tensor":
                feeds[name] = self._tensor(frame, name, dtype, key)
                continue
            _check_columns(frame, columns)
            if layout == "matrix":
                feeds[name] = _matrix(frame, columns, dtype)
            else:
                feeds[name] = _column(frame[columns[0]], dtype).reshape(-1, 1)
        return feeds

    def _tensor(self, frame: pd.DataFrame, name: str, dtype: np.dtype, key: str) -> np.ndarray:
        if key in frame.columns:
            column = frame[key]
            if column.dtype == object and len(column) and not isinstance(column.iloc[0], str):
                return _cast(np.stack([np.asarray(each) for each in column]), dtype, key)
            return _column(column, dtype)
        if len(self._feeds) == 1:
            return _matrix(frame, list(frame.columns), dtype)
        raise ValueError(f"input {name!r} is missing; got the columns {list(frame.columns)}")


def inferred_feeds(inputs: list[Any]) -> list[dict[str, Any]]:
    """Feed entries for a bare ``.onnx`` file, from onnxruntime's description of its inputs."""
    return [
        {"name": each.name, "layout": "tensor", "dtype": _OF_ONNX.get(each.type, "float32")}
        for each in inputs
    ]


def _check_columns(frame: pd.DataFrame, columns: list[str]) -> None:
    missing = [name for name in columns if name not in frame.columns]
    if missing:
        raise ValueError(f"the columns {missing} are missing; got {list(map(str, frame.columns))}")


def _matrix(frame: pd.DataFrame, columns: list[str], dtype: np.dtype) -> np.ndarray:
    if list(frame.columns) != columns:
        frame = frame[columns]
    try:
        if dtype.kind == "f":
            return np.ascontiguousarray(frame.to_numpy(dtype=dtype, na_value=np.nan))
    except (TypeError, ValueError):
        pass_through = [_column(frame[name], dtype) for name in columns]
        return np.stack(pass_through, axis=1)
    return np.stack([_column(frame[name], dtype) for name in columns], axis=1)


def _column(column: pd.Series, dtype: np.dtype) -> np.ndarray:
    if dtype.kind == "O":
        return _texts(column)
    if dtype.kind == "f":
        try:
            return column.to_numpy(dtype=dtype, na_value=np.nan)
        except (TypeError, ValueError) as error:
            raise ValueError(f"column {column.name!r} must be numeric: {error}") from error
    if column.isna().any():
        raise ValueError(f"column {column.name!r} has missing values, which {dtype} cannot hold")
    return _cast(column.to_numpy(), dtype, str(column.name))


def _texts(column: pd.Series) -> np.ndarray:
    """Text as objects; a missing text is the empty string, as ONNX has no other."""
    values = column.astype(object).to_numpy(dtype=object, copy=True)
    missing = column.isna().to_numpy()
    if missing.any():
        values[missing] = ""
    return values


def _cast(array: np.ndarray, dtype: np.dtype, name: str) -> np.ndarray:
    """``array`` as ``dtype``; ValueError where that would change an integer's value."""
    if array.dtype == dtype:
        return array
    if dtype.kind == "O":
        return array.astype(object)
    if array.dtype.kind in "OUS":
        try:
            return array.astype(dtype)
        except (TypeError, ValueError) as error:
            raise ValueError(f"{name!r} must be {dtype}, not text: {error}") from error
    cast = array.astype(dtype)
    if dtype.kind in "iub" and not np.array_equal(cast, array):
        raise ValueError(f"{name!r} has values that do not fit {dtype}")
    return cast
