"""Read evaluation data from Parquet, CSV, Arrow, npz and npy files and from folders, as frames or
named arrays.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import pandas as pd

from mlflow_onnx_flavor.errors import InvalidDataError
from mlflow_onnx_flavor.inputs.readers import data_sets

Table: TypeAlias = pd.DataFrame | dict[str, np.ndarray]

SUFFIXES = (".parquet", ".csv", ".arrow", ".feather", ".npz", ".npy")
UNNAMED = ""

_ROWS_AT_ONCE = 65_536


def read_table(path: Path, csv_types: Mapping[str, Any] | None = None) -> Table:
    """The file's contents: a DataFrame, or arrays by name ("" for the one array of a ``.npy``).

    ``csv_types``: as what columns are read from CSV, see `column_types`.  Raises InvalidDataError
    where the file is missing, of another kind, broken or empty.
    """
    readers: Mapping[str, Callable[[Path], Table]] = {
        ".parquet": pd.read_parquet,
        ".csv": lambda file: pd.read_csv(file, dtype=dict(csv_types or {})),
        ".arrow": _read_arrow,
        ".feather": _read_arrow,
        ".npz": _read_npz,
        ".npy": lambda file: {UNNAMED: np.load(file, allow_pickle=False)},
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
    except (ValueError, OSError, KeyError) as error:  # what pandas, pyarrow and numpy raise
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InvalidDataError(f"{path.name!r} cannot be read: {reason}") from error
    if _rows(table) == 0:
        raise InvalidDataError(f"{path.name!r} has no rows; evaluation data needs at least one")
    return table


def _whole(folder: Path) -> pd.DataFrame:
    frames = list(data_sets.frames(folder, _ROWS_AT_ONCE))
    if not sum(map(len, frames)):
        raise InvalidDataError(f"{folder.name!r} has no rows; evaluation data needs at least one")
    return pd.concat(frames, ignore_index=True)


def _read_arrow(path: Path) -> pd.DataFrame:
    """An Arrow IPC file or stream."""
    import pyarrow as pa

    with pa.memory_map(str(path)) as source:
        try:
            return pa.ipc.open_file(source).read_pandas()
        except pa.ArrowInvalid:
            source.seek(0)
            return pa.ipc.open_stream(source).read_pandas()


def _read_npz(path: Path) -> dict[str, np.ndarray]:
    with np.load(path, allow_pickle=False) as archive:
        return {name: archive[name] for name in archive.files}


def _rows(table: Table) -> int:
    if isinstance(table, pd.DataFrame):
        return len(table)
    return min((len(np.atleast_1d(array)) for array in table.values()), default=0)
