"""Limits of a table, checked against what its file declares before the table is built."""

from __future__ import annotations

import csv
import io
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa

from mlflow_onnx_flavor.errors import InvalidDataError
from mlflow_onnx_flavor.processes.array_files import ArrayFileError, check_memory

MOST_COLUMNS = 50_000
_HEAD = 16_000_000  # characters within which the first two rows of a CSV file must end
_BYTES_OF_A_VALUE = 8
_ROWS_AT_ONCE = 200_000  # more are read in batches
# Errors that pandas, pyarrow and the modules below them raise for a truncated or malformed file.
UNREADABLE: tuple[type[Exception], ...] = (
    *(ValueError, OSError, KeyError, EOFError, IndexError, TypeError, AttributeError),
    *(MemoryError, OverflowError, NotImplementedError, RuntimeError, pa.ArrowException),
)


def check_csv(path: Path) -> None:
    """Raise InvalidDataError if the first two rows have more than `MOST_COLUMNS`.

    These rows determine the number of columns.
    """
    with path.open(encoding="utf-8", errors="replace", newline="") as file:
        head = file.read(_HEAD)
    for row in islice(_rows(head), 2):
        _check_columns(len(row), path)


def check_parquet(path: Path) -> None:
    """Raise InvalidDataError for too many columns, or more values than memory holds."""
    import pyarrow.parquet as pq

    metadata = pq.read_metadata(path)
    _check_columns(metadata.num_columns, path)
    rows = min(metadata.num_rows, _ROWS_AT_ONCE)
    _check_values(max(rows * metadata.num_columns, 0), path)


def check_arrow(schema: pa.Schema, path: Path) -> None:
    """Raise InvalidDataError for too many columns."""
    _check_columns(len(schema), path)


def _rows(head: str) -> Any:
    """Yield the rows of the text that are not blank; text that is not CSV has none."""
    reader = csv.reader(io.StringIO(head))
    before = csv.field_size_limit(_HEAD)
    try:
        yield from (row for row in reader if row)
    except csv.Error:  # pandas reports the error
        return
    finally:
        csv.field_size_limit(before)


def _check_columns(columns: int, path: Path) -> None:
    if columns > MOST_COLUMNS:
        raise InvalidDataError(
            f"{path.name!r} has {columns:,} columns, more than the {MOST_COLUMNS:,} that are read;"
            " save numbers as one array in a .npy file"
        )


def _check_values(values: int, path: Path) -> None:
    try:
        check_memory(values * _BYTES_OF_A_VALUE, "it")
    except ArrayFileError as error:
        raise InvalidDataError(f"{path.name!r} cannot be read: {error}") from error
