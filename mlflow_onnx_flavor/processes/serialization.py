"""Encode values that cross a process boundary as JSON, with large ones in files beside it.

Arrays are ``.npy`` files, texts Arrow and frames Parquet.  Nothing is pickled: an array of objects
that are not all texts travels as a JSON list of strings, numbers and nulls.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from mlflow_onnx_flavor.processes.array_files import read_array

_ARRAY, _OBJECTS, _FRAME, _FLOAT = "__array__", "__objects__", "__frame__", "__float__"
_TEXTS = "__texts__"


def encode(value: Any, folder: Path, stem: str) -> bytes:
    """Return one line of JSON for ``value``; arrays and frames go to files ``folder/stem-N``.

    ``value``: None, bool, int, float, str, path, list, tuple, dict with string keys, numpy scalars
    and arrays, DataFrames.  Raises TypeError for anything else.
    """
    numbers = count()

    def plain(item: Any) -> Any:
        if item is None or isinstance(item, bool | int | str):
            return item
        if isinstance(item, float):
            return item if np.isfinite(item) else {_FLOAT: repr(item)}
        if isinstance(item, np.generic):
            return plain(item.item())
        if isinstance(item, Path):
            return str(item)
        if isinstance(item, list | tuple):
            return [plain(each) for each in item]
        if isinstance(item, dict):
            return {_string(key): plain(each) for key, each in item.items()}
        if isinstance(item, pd.DataFrame):
            name = f"{stem}-{next(numbers)}.parquet"
            item.to_parquet(folder / name)
            return {_FRAME: name}
        if isinstance(item, np.ndarray):
            if item.dtype == object:
                texts = _texts(item)
                if texts is not None:
                    name = f"{stem}-{next(numbers)}.arrow"
                    _write_texts(folder / name, texts)
                    return {_TEXTS: name, "shape": list(item.shape)}
                return {_OBJECTS: [plain(each) for each in item.ravel()], "shape": list(item.shape)}
            name = f"{stem}-{next(numbers)}.npy"
            np.save(folder / name, item, allow_pickle=False)
            return {_ARRAY: name}
        raise TypeError(f"a {type(item).__name__} cannot cross a process boundary")

    return json.dumps(plain(value)).encode()


def decode(line: bytes, folder: Path) -> Any:
    """Return the value that `encode` wrote; remove the files beside it once they are read."""

    def rich(item: Any) -> Any:
        if isinstance(item, list):
            return [rich(each) for each in item]
        if not isinstance(item, dict):
            return item
        if _ARRAY in item:
            return _consumed(folder, item[_ARRAY], read_array)
        if _FRAME in item:
            return _consumed(folder, item[_FRAME], pd.read_parquet)
        if _TEXTS in item:
            return _consumed(folder, item[_TEXTS], _read_texts).reshape(item["shape"])
        if _OBJECTS in item:
            array = np.empty(len(item[_OBJECTS]), dtype=object)
            array[:] = [rich(each) for each in item[_OBJECTS]]
            return array.reshape(item["shape"])
        if _FLOAT in item:
            return float(item[_FLOAT])
        return {key: rich(each) for key, each in item.items()}

    try:
        return rich(json.loads(line))
    except RecursionError as error:
        raise ValueError("the child process answers with a value nested too deeply") from error


def _texts(array: np.ndarray) -> Any:
    """Return an Arrow array of the flattened elements; None unless all are texts valid in UTF-8."""
    if pd.api.types.infer_dtype(array, skipna=False) != "string":
        return None
    import pyarrow as pa

    try:
        return pa.array(array.ravel(), pa.large_string())
    except (pa.ArrowInvalid, UnicodeEncodeError):  # a lone surrogate
        return None


def _write_texts(path: Path, texts: Any) -> None:
    import pyarrow as pa

    batch = pa.record_batch([texts], ["texts"])
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, batch.schema) as writer:
        writer.write_batch(batch)


def _read_texts(path: Path) -> np.ndarray:
    import pyarrow as pa

    with pa.memory_map(str(path)) as source:
        column = pa.ipc.open_file(source).get_batch(0).column(0)
        texts: np.ndarray = column.to_numpy(zero_copy_only=False)
        return texts


def _consumed(folder: Path, name: Any, read: Callable[[Path], Any]) -> Any:
    """Return the content of the file and remove it.

    A child process that runs foreign code may name any file, so only one in its own folder is read,
    and no link.
    """
    if not isinstance(name, str) or Path(name).name != name:
        raise ValueError(f"the child process names the file {name!r}, which is none of its own")
    path = folder / name
    if path.is_symlink():
        raise ValueError(f"the child process wrote a link in the place of the file {name!r}")
    value = read(path)
    path.unlink()
    return value


def _string(key: Any) -> str:
    if not isinstance(key, str):
        raise TypeError(f"a dictionary key must be a string, not {key!r}")
    return key
