"""From what a consumer gives to what the graph takes: frames, arrays, dictionaries -> feeds."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from .casts import as_dtype
from .frame_columns import ColumnLocator, block_values, column_values
from .tokens import TextTokenizer

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

Feeds = dict[str, np.ndarray]


@dataclass(frozen=True, slots=True)
class _Input:
    """One graph input; ``start``: where its columns begin among those of all inputs; ``flat``: it
    is of shape (rows,).
    """

    name: str
    layout: str
    dtype: np.dtype
    columns: tuple[str, ...]
    key: str
    start: int
    flat: bool = False


class Feeder:
    """Makes the feeds of one graph.

    ``feeds``: the graph specification's entries, each ``{"name", "layout", "dtype", "columns",
    "key"}``.  ``tokenizer``: what the file's metadata holds of one.  ``flat``: the inputs of shape
    (rows,).  Thread-safe: nothing changes between calls.
    """

    def __init__(
        self,
        feeds: list[Mapping[str, Any]],
        tokenizer: str | None = None,
        flat: Collection[str] = (),
    ):
        inputs, columns = [], []
        for feed in feeds:
            names = tuple(feed.get("columns") or ())
            inputs.append(
                _Input(
                    name=feed["name"],
                    layout=feed["layout"],
                    dtype=np.dtype(feed["dtype"]),
                    columns=names,
                    key=feed.get("key") or feed["name"],
                    start=len(columns),
                    flat=feed["name"] in flat,
                )
            )
            columns.extend(names)
        self._inputs = tuple(inputs)
        self._columns = tuple(columns)
        self._locator = ColumnLocator(self._columns)
        self._of_frame: Callable[[pd.DataFrame], Feeds] = self._from_frame
        self._of_array: Callable[[np.ndarray], Feeds] = self._from_split_array
        if any(each.layout == "tokens" for each in inputs):
            self._tokenizer = TextTokenizer(tokenizer)
            self._of_frame = self._of_array = self._from_text
        elif len(inputs) == 1:
            (self._only,) = inputs
            self._of_array = self._from_whole_array
            if self._only.layout == "matrix":
                self._of_frame = self._from_one_matrix

    def feeds(self, data: Any) -> Feeds:
        """The arrays to run on.  Raises ValueError naming the column or input that does not fit."""
        if isinstance(data, np.ndarray):
            return self._of_array(data)
        if isinstance(data, pd.DataFrame):
            return self._of_frame(data)
        if isinstance(data, Mapping):
            return self._from_mapping(data)
        if isinstance(data, pd.Series):
            return self._of_frame(data.to_frame())
        if hasattr(data, "toarray"):  # scipy sparse
            data = data.toarray()
        elif isinstance(data, list | tuple) and data and _is_record(data[0]):
            return self._of_frame(pd.DataFrame([_record(each) for each in data]))
        return self._of_array(np.asarray(data))

    def _from_whole_array(self, array: np.ndarray) -> Feeds:
        only = self._only
        if array.dtype != only.dtype or only.dtype.kind == "O":
            array = as_dtype(array, only.dtype, only.name)
        if only.layout == "column" and array.ndim == 1:
            array = array.reshape(-1, 1)
        return {only.name: array}

    def _from_split_array(self, array: np.ndarray) -> Feeds:
        """One array whose columns go to several inputs, in their order."""
        width = len(self._columns)
        if array.ndim != 2 or array.shape[1] != width or not all(i.columns for i in self._inputs):
            raise ValueError(
                f"the model takes the inputs {[each.name for each in self._inputs]}; give a data"
                f" frame or a dictionary of arrays, not one array of shape {array.shape}"
            )
        feeds = {}
        for each in self._inputs:
            columns = array[:, each.start : each.start + len(each.columns)]
            feeds[each.name] = as_dtype(columns, each.dtype, each.name)
        return feeds

    def _from_text(self, data: Any) -> Feeds:
        key_of = {each.key: each.name for each in self._inputs}
        tensors = self._tokenizer.tensors(data, tuple(key_of))
        return {key_of[key]: tensor for key, tensor in tensors.items()}

    def _from_mapping(self, data: Mapping[str, Any]) -> Feeds:
        """Arrays by column, by the name that the source gave an input, or by the graph's own."""
        if self._of_frame == self._from_text and not any(i.key in data for i in self._inputs):
            return self._from_text(data)
        feeds = {}
        for each in self._inputs:
            if each.layout != "tensor" and all(column in data for column in each.columns):
                columns = [
                    as_dtype(_array(data[column]), each.dtype, column).reshape(-1, 1)
                    for column in each.columns
                ]
                feeds[each.name] = columns[0] if len(columns) == 1 else np.hstack(columns)
                continue
            found = data.get(each.key, data.get(each.name))
            if found is None:
                wanted = [name for name in each.columns if name not in data] or [each.key]
                raise ValueError(f"{_listed('input', wanted)} missing; got {list(map(str, data))}")
            feeds[each.name] = as_dtype(_array(found), each.dtype, each.key)
        return feeds

    def _from_one_matrix(self, frame: pd.DataFrame) -> Feeds:
        only = self._only
        positions = self._locator.positions(frame)
        if positions is None and only.dtype.kind == "f":
            block = block_values(frame)
            if block is not None:
                return {only.name: np.ascontiguousarray(block, dtype=only.dtype)}
        return {only.name: _matrix(frame, only, positions or range(len(only.columns)))}

    def _from_frame(self, frame: pd.DataFrame) -> Feeds:
        positions = self._locator.located(frame) if self._columns else ()
        feeds = {}
        for each in self._inputs:
            if each.layout == "tensor":
                tensor = self._tensor(frame, each)
                is_column = each.flat and tensor.ndim == 2 and tensor.shape[1] == 1
                feeds[each.name] = tensor[:, 0] if is_column else tensor
            elif each.layout == "matrix":
                located = positions[each.start : each.start + len(each.columns)]
                feeds[each.name] = _matrix(frame, each, located)
            else:
                values = column_values(frame, positions[each.start])
                column = as_dtype(values, each.dtype, each.columns[0])
                feeds[each.name] = column.reshape(-1, 1)
        return feeds

    def _tensor(self, frame: pd.DataFrame, each: _Input) -> np.ndarray:
        """A column of that name, of numbers or of arrays of equal shape; or the whole frame."""
        if each.key in frame.columns:
            values = column_values(frame, frame.columns.get_loc(each.key))
            if values.dtype == object and len(values) and np.ndim(values[0]):
                values = np.stack([np.asarray(value) for value in values])
            return as_dtype(values, each.dtype, each.key)
        if len(self._inputs) == 1:
            block = block_values(frame)
            if block is not None:
                return as_dtype(block, each.dtype, each.key)
            whole = _Input(each.name, "matrix", each.dtype, tuple(map(str, frame.columns)), "", 0)
            return _matrix(frame, whole, range(len(whole.columns)))
        raise ValueError(f"input {each.key!r} is missing; got the columns {list(frame.columns)}")


def inferred_feeds(inputs: list[Any]) -> list[dict[str, Any]]:
    """Feed entries for a bare ``.onnx`` file, from onnxruntime's description of its inputs.

    Of several, those of shape (rows, 1) are the columns of a frame.
    """
    entries = []
    for each in inputs:
        entry = {"name": each.name, "dtype": _OF_ONNX.get(each.type, "float32")}
        is_column = len(inputs) > 1 and len(each.shape) == 2 and each.shape[1] == 1
        if is_column:
            entries.append({**entry, "layout": "column", "columns": [each.name]})
        else:
            entries.append({**entry, "layout": "tensor"})
    return entries


def _matrix(frame: pd.DataFrame, each: _Input, positions: Any) -> np.ndarray:
    """The columns at ``positions`` side by side, shape (rows, columns)."""
    dtype = each.dtype
    matrix = np.empty((len(frame), len(each.columns)), dtype)
    is_float = dtype.kind == "f"
    for index, position in enumerate(positions):
        values = column_values(frame, position)
        if not (is_float and isinstance(values, np.ndarray) and values.dtype.kind in "fiub"):
            values = as_dtype(values, dtype, each.columns[index])
        matrix[:, index] = values
    return matrix


def _array(values: Any) -> Any:
    """A numpy or pandas array of a dictionary's value."""
    return values.array if isinstance(values, pd.Series | pd.Index) else np.asarray(values)


def _is_record(row: Any) -> bool:
    return isinstance(row, Mapping) or hasattr(row, "asDict")  # Spark's Row is a tuple


def _record(row: Any) -> Mapping[str, Any]:
    return row if isinstance(row, Mapping) else row.asDict()


def _listed(what: str, names: list[str]) -> str:
    return f"{what} {names[0]!r} is" if len(names) == 1 else f"{what}s {names} are"
