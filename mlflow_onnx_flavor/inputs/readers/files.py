"""Read evaluation data from files and folders, as frames or named arrays.

The formats are Parquet, CSV, Arrow, npz and npy.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import pandas as pd

from mlflow_onnx_flavor.errors import InvalidDataError, one_line
from mlflow_onnx_flavor.inputs.readers import data_sets
from mlflow_onnx_flavor.inputs.readers.limits import (
    UNREADABLE,
    check_arrow,
    check_csv,
    check_parquet,
)
from mlflow_onnx_flavor.processes.array_files import read_array, read_arrays

Table: TypeAlias = pd.DataFrame | dict[str, np.ndarray]

SUFFIXES = (".parquet", ".csv", ".arrow", ".feather", ".npz", ".npy")
UNNAMED = ""

_ROWS_AT_ONCE = 65_536


def read_table(path: Path, csv_types: Mapping[str, Any] | None = None) -> Table:
    """Return the file's contents: a DataFrame, or arrays by name ("" for that of a ``.npy``).

    ``csv_types``: the dtypes to read CSV columns with, see `column_types`.  Raises InvalidDataError
    if the file is missing, of another kind, broken or empty.
    """
    readers: Mapping[str, Callable[[Path], Table]] = {
        ".parquet": _read_parquet,
        ".csv": lambda file: _read_csv(file, dict(csv_types or {})),
        ".arrow": _read_arrow,
        ".feather": _read_arrow,
        ".npz": read_arrays,
        ".npy": lambda file: {UNNAMED: read_array(file)},
    }
    if data_sets.is_data_set(path):
        return _whole(path)
    if not path.is_file():
        raise InvalidDataError(f"there is no evaluation data at {str(path)!r}")
    reader = readers.get(path.suffix.lower())
    if reader is None:
        raise InvalidDataError(
            f"evaluation data is read from {', '.join(SUFFIXES)}, not from {path.name!r}"
        )
    try:
        table = reader(path)
    except UNREADABLE as error:
        reason = one_line(error)
        raise InvalidDataError(f"{path.name!r} cannot be read: {reason}") from error
    if _rows(table) == 0:
        raise InvalidDataError(f"{path.name!r} has no rows; evaluation data needs at least one")
    return table


def _whole(folder: Path) -> pd.DataFrame:
    frames = list(data_sets.frames(folder, _ROWS_AT_ONCE))
    if not sum(map(len, frames)):
        raise InvalidDataError(f"{folder.name!r} has no rows; evaluation data needs at least one")
    return pd.concat(frames, ignore_index=True)


def _read_parquet(path: Path) -> pd.DataFrame:
    check_parquet(path)
    return pd.read_parquet(path)


def _read_csv(path: Path, types: dict[str, Any]) -> pd.DataFrame:
    check_csv(path)
    return pd.read_csv(path, dtype=types)


def _read_arrow(path: Path) -> pd.DataFrame:
    """Read an Arrow IPC file or stream."""
    import pyarrow as pa

    with pa.memory_map(str(path)) as source:
        try:
            reader = pa.ipc.open_file(source)
        except pa.ArrowInvalid:
            source.seek(0)
            reader = pa.ipc.open_stream(source)
        check_arrow(reader.schema, path)
        return reader.read_pandas()


def _rows(table: Table) -> int:
    if isinstance(table, pd.DataFrame):
        return len(table)
    return min((len(np.atleast_1d(array)) for array in table.values()), default=0)
