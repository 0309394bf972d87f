"""Turn a consumer's data (frames, arrays, dictionaries) into the feeds of a graph."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from .casts import as_dtype
from .cells import stacked
from .frame_columns import ColumnLocator, block_values, column_values
from .records import as_plain_array, frame_of_records, is_record
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

_OPTIONAL = "optional("  # begins the type of an input that a run may leave out

Feeds = dict[str, np.ndarray]


@dataclass(frozen=True, slots=True)
class _Input:
    """One graph input.

    ``start``: the position of its first column among those of all inputs.  ``shape``: the one that
    the graph declares, () where it is not known.  ``is_flat``: the shape is (rows,).
    """

    name: str
    layout: str
    dtype: np.dtype
    columns: tuple[str, ...]
    key: str
    start: int
    shape: tuple[Any, ...] = ()
    is_flat: bool = False

    def shaped(self, array: np.ndarray, is_of_column: bool = False) -> np.ndarray:
        """Return an array of one value a row in the input's shape: (rows,) or (rows, 1).

        ``is_of_column``: the values are a column's, and the input may be of any width.
        """
        if self.is_flat:
            return array[:, 0] if array.ndim == 2 and array.shape[1] == 1 else array
        if array.ndim != 1:
            return array
        width = self.shape[1] if len(self.shape) == 2 else 0
        takes_column = width == 1 or (is_of_column and not isinstance(width, int))
        return array.reshape(-1, 1) if takes_column or self.layout == "column" else array


class Feeder:
    """The maker of one graph's feeds.

    ``feeds``: the graph specification's entries, each ``{"name", "layout", "dtype", "columns",
    "key"}``.  ``tokenizer``: the tokenizer in the file's metadata, if it has one.  ``shapes``:
    those of the graph's inputs, as the graph declares them.  ``optional``: the inputs that may be
    left out.  ``weights``: entries of the inputs that the graph has default values for; a
    dictionary may give others.  Thread-safe: nothing changes between calls.
    """

    def __init__(
        self,
        feeds: list[Mapping[str, Any]],
        tokenizer: str | None = None,
        shapes: Mapping[str, Sequence[Any]] | None = None,
        optional: Collection[str] = (),
        weights: Sequence[Mapping[str, Any]] = (),
    ):
        inputs = []
        columns: list[Any] = []
        for feed in feeds:
            names = tuple(feed.get("columns") or ())
            shape = tuple((shapes or {}).get(feed["name"]) or ())
            inputs.append(
                _Input(
                    name=feed["name"],
                    layout=feed["layout"],
                    dtype=np.dtype(feed["dtype"]),
                    columns=names,
                    key=feed.get("key") or feed["name"],
                    start=len(columns),
                    shape=shape,
                    is_flat=len(shape) == 1,
                )
            )
            columns.extend(names)
        self._inputs = tuple(inputs)
        self._optional = frozenset(optional)
        self._weights = {each["name"]: np.dtype(each["dtype"]) for each in weights}
        needed = [each for each in inputs if each.name not in self._optional]
        self._columns = tuple(columns)
        self._locator = ColumnLocator(self._columns)
        self._of_frame: Callable[[pd.DataFrame], Feeds] = self._from_frame
        self._of_array: Callable[[np.ndarray], Feeds] = self._from_split_array
        if any(each.layout == "tokens" for each in inputs):
            self._tokenizer = TextTokenizer(tokenizer)
            self._of_frame = self._of_array = self._from_text
        elif len(needed) == 1 or len(inputs) == 1:
            (self._only,) = needed or inputs
            self._of_array = self._from_whole_array
            if self._only.layout == "matrix" and len(inputs) == 1:
                self._of_frame = self._from_one_matrix
        self._may_lack = frozenset(name for feed in feeds for name in feed.get("optional") or ())
        if self._may_lack:
            self._of_whole_frame = self._of_frame
            self._of_frame = self._from_frame_that_may_lack

    def feeds(self, data: Any) -> Feeds:
        """Return the arrays to run on, by the name of the graph's input.

        Raises ValueError naming the column or input that does not fit.
        """
        if isinstance(data, np.ndarray):
            return self._of_array(data if type(data) is np.ndarray else as_plain_array(data))
        if isinstance(data, pd.DataFrame):
            return self._of_frame(data)
        if isinstance(data, Mapping):
            return self._from_mapping(data)
        if isinstance(data, pd.Series):
            return self._from_series(data)
        if hasattr(data, "toarray"):  # scipy sparse
            data = data.toarray()
        elif hasattr(data, "to_pandas"):  # tables of Arrow or Polars, whose columns have names
            return self.feeds(data.to_pandas())
        elif isinstance(data, list | tuple) and data and is_record(data[0]):
            return self._of_frame(frame_of_records(data))
        return self._of_array(_array(data))

    def _from_series(self, series: pd.Series) -> Feeds:
        """Return the feeds of a series, as the column of its name.

        A series without a name is the only column, where the model has only one.
        """
        if series.name is None and len(self._inputs) == 1 and len(self._columns) < 2:
            name = self._columns[0] if self._columns else self._inputs[0].key
            return self._of_frame(series.to_frame(name))
        return self._of_frame(series.to_frame())

    def _from_whole_array(self, array: np.ndarray) -> Feeds:
        only = self._only
        if array.dtype != only.dtype or only.dtype.kind == "O":
            array = as_dtype(array, only.dtype, only.name)
        if (array.ndim < 2 and only.layout != "matrix") or only.is_flat:
            array = only.shaped(array)
        return {only.name: array}

    def _from_split_array(self, array: np.ndarray) -> Feeds:
        """Return the feeds of one array whose columns go to several inputs, in their order."""
        width = len(self._columns)
        if array.ndim != 2 or array.shape[1] != width or not all(i.columns for i in self._inputs):
            raise ValueError(
                f"the model takes the inputs {[each.name for each in self._inputs]}; give a data"
                f" frame or a dictionary of arrays, not one array of shape {array.shape}"
            )
        feeds = {}
        for each in self._inputs:
            columns = array[:, each.start : each.start + len(each.columns)]
            feeds[each.name] = each.shaped(as_dtype(columns, each.dtype, each.name))
        return feeds

    def _from_text(self, data: Any) -> Feeds:
        key_of = {each.key: each.name for each in self._inputs}
        tensors = self._tokenizer.tensors(data, tuple(key_of))
        return {key_of[key]: tensor for key, tensor in tensors.items()}

    def _from_frame_that_may_lack(self, frame: pd.DataFrame) -> Feeds:
        """Return the feeds of a frame, with missing values for optional columns that are absent."""
        absent = [name for name in self._may_lack if name not in map(str, frame.columns)]
        return self._of_whole_frame(frame.assign(**dict.fromkeys(absent, np.nan)))

    def _from_mapping(self, data: Mapping[str, Any]) -> Feeds:
        """Return the feeds of a dictionary.

        Its keys are columns, the source's names of inputs, or the graph's own names.
        """
        if self._of_frame == self._from_text and not any(i.key in data for i in self._inputs):
            return self._from_text(data)
        feeds, named = {}, []
        for each in self._inputs:
            if each.layout != "tensor" and all(column in data for column in each.columns):
                named.append(each)
                continue
            found = data.get(each.key, data.get(each.name))
            absent = [name for name in each.columns if name not in data]
            if found is not None:
                feeds[each.name] = self._given(found, each)
            elif absent and self._may_lack.issuperset(absent):
                named.append(each)
            elif each.name not in self._optional:
                wanted = absent or [each.key]
                raise ValueError(f"{_listed('input', wanted)} missing; got {list(map(str, data))}")
        for name in self._weights.keys() & data.keys():
            feeds[name] = as_dtype(_array(data[name]), self._weights[name], name)
        return feeds | self._from_columns(data, named) if named else feeds

    def _given(self, found: Any, each: _Input) -> np.ndarray:
        """Return the feed of an input that a dictionary gives as a whole."""
        if isinstance(found, pd.DataFrame) and each.layout == "matrix":
            return _matrix(found, each, ColumnLocator(each.columns).located(found))
        values = stacked(_array(found), each.dtype, each.key)
        return each.shaped(as_dtype(values, each.dtype, each.key))

    def _from_columns(self, data: Mapping[str, Any], inputs: Sequence[_Input]) -> Feeds:
        """Return the feeds of inputs whose columns a dictionary has.

        Each column holds a value a row, or one value for all rows.
        """
        columns = {
            name: _one_axis(as_dtype(_array(data.get(name, np.nan)), each.dtype, name), name)
            for each in inputs
            for name in each.columns
        }
        lengths = {name: len(column) for name, column in columns.items() if column.ndim}
        rows = max(lengths.values(), default=1)
        for name, length in lengths.items():
            if length != rows:
                longest = max(lengths, key=lambda each: lengths[each])
                raise ValueError(f"{name!r} has {length} rows, where {longest!r} has {rows}")
        feeds = {}
        for each in inputs:
            values = np.empty((rows, len(each.columns)), each.dtype)
            for at, name in enumerate(each.columns):
                values[:, at] = columns[name]
            feeds[each.name] = each.shaped(values)
        return feeds

    def _from_one_matrix(self, frame: pd.DataFrame) -> Feeds:
        only = self._only
        positions = self._locator.positions(frame)
        block = block_values(frame) if only.dtype.kind == "f" else None
        if block is not None:
            if positions is not None:
                block = block[:, positions]
            return {only.name: np.ascontiguousarray(block, dtype=only.dtype)}
        return {only.name: _matrix(frame, only, positions or range(len(only.columns)))}

    def _from_frame(self, frame: pd.DataFrame) -> Feeds:
        positions = self._locator.located(frame) if self._columns else ()
        feeds = {}
        for each in self._inputs:
            if each.layout == "tensor":
                if each.name in self._optional and each.key not in frame.columns:
                    continue
                feeds[each.name] = self._tensor(frame, each)
            elif each.layout == "matrix":
                located = positions[each.start : each.start + len(each.columns)]
                feeds[each.name] = _matrix(frame, each, located)
            else:
                values = column_values(frame, positions[each.start])
                column = as_dtype(values, each.dtype, each.columns[0])
                feeds[each.name] = column if each.is_flat else column.reshape(-1, 1)
        return feeds

    def _tensor(self, frame: pd.DataFrame, each: _Input) -> np.ndarray:
        """Return the feed from the column of the input's name, or else from the whole frame.

        The column holds numbers, or arrays of equal shape.
        """
        if each.key in frame.columns:
            position = frame.columns.get_loc(each.key)
            if not isinstance(position, int):
                raise ValueError(f"the column {each.key!r} is there more than once")
            if not len(frame):
                return np.empty(_no_rows(each.shape), each.dtype)
            values = stacked(column_values(frame, position), each.dtype, each.key)
            return each.shaped(as_dtype(values, each.dtype, each.key), is_of_column=True)
        if len(self._inputs) - len(self._optional) > 1:
            raise ValueError(
                f"input {each.key!r} is missing; got the columns {list(frame.columns)}"
            )
        block = block_values(frame)
        if block is not None:
            return each.shaped(as_dtype(block, each.dtype, each.key))
        whole = _Input(each.name, "matrix", each.dtype, tuple(map(str, frame.columns)), "", 0)
        return each.shaped(_matrix(frame, whole, range(len(whole.columns))))


def inferred_feeds(inputs: list[Any]) -> list[dict[str, Any]]:
    """Return feed entries for a bare ``.onnx`` file, from onnxruntime's description of its inputs.

    If there are several inputs, those of shape (rows, 1) are the columns of a frame.
    """
    entries = []
    for each in inputs:
        kind = each.type.removeprefix(_OPTIONAL)[:-1] if is_optional(each) else each.type
        entry = {"name": each.name, "dtype": _OF_ONNX.get(kind, "float32")}
        is_column = len(inputs) > 1 and len(each.shape) == 2 and each.shape[1] == 1
        if is_column and not is_optional(each):
            entries.append({**entry, "layout": "column", "columns": [each.name]})
        else:
            entries.append({**entry, "layout": "tensor"})
    return entries


def is_optional(graph_input: Any) -> bool:
    """Return whether a run may leave the input out, by onnxruntime's description of it."""
    return graph_input.type.startswith(_OPTIONAL)


def _matrix(frame: pd.DataFrame, each: _Input, positions: Any) -> np.ndarray:
    """Return the columns at ``positions`` side by side, shape (rows, columns)."""
    dtype = each.dtype
    matrix = np.empty((len(frame), len(each.columns)), dtype)
    is_float = dtype.kind == "f"
    for index, position in enumerate(positions):
        values = column_values(frame, position)
        if not (is_float and isinstance(values, np.ndarray) and values.dtype.kind in "fiub"):
            values = as_dtype(values, dtype, each.columns[index])
        matrix[:, index] = values
    return matrix


def _one_axis(column: np.ndarray, name: str) -> np.ndarray:
    if column.ndim < 2:
        return column
    if column.size != len(column):
        raise ValueError(f"{name!r} takes one value a row, not an array of shape {column.shape}")
    return column.reshape(-1)


def _no_rows(shape: tuple[Any, ...]) -> tuple[int, ...]:
    return (0, *(size if isinstance(size, int) else 1 for size in shape[1:]))


def _array(values: Any) -> Any:
    """Return a value of a dictionary, or a list, as a numpy or pandas array."""
    if isinstance(values, pd.Series | pd.Index):
        return values.array
    if isinstance(values, np.ndarray):
        return values if type(values) is np.ndarray else as_plain_array(values)
    if hasattr(values, "toarray"):
        return values.toarray()
    try:
        return np.asarray(values)
    except ValueError as error:
        raise ValueError("the rows are lists of different lengths, which is no array") from error


def _listed(what: str, names: list[str]) -> str:
    return f"{what} {names[0]!r} is" if len(names) == 1 else f"{what}s {names} are"
