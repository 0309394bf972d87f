"""Evaluation data that is too large for memory: read and checked a batch at a time."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from mlflow_onnx_flavor.artifact.digests import digest_of_tree
from mlflow_onnx_flavor.errors import InvalidDataError, one_line
from mlflow_onnx_flavor.inputs.batches import Inputs
from mlflow_onnx_flavor.inputs.readers import data_sets
from mlflow_onnx_flavor.inputs.readers.column_types import csv_types
from mlflow_onnx_flavor.inputs.readers.evaluation import as_inputs, local_file, read_local
from mlflow_onnx_flavor.inputs.readers.limits import (
    UNREADABLE,
    check_arrow,
    check_csv,
    check_parquet,
)

if TYPE_CHECKING:
    from mlflow.models.signature import ModelSignature

ROWS_AT_ONCE = 32_768

# Data of more rows is streamed; a CSV file, which does not declare its rows, of more bytes.
_MOST_ROWS = 200_000
_MOST_BYTES_OF_CSV = 50_000_000


class RowStream:
    """The rows of a Parquet, Arrow or CSV file or of a folder, in the form the model receives.

    Folders are read by `data_sets`.  ``rows``: how many there are; None if the file does not
    declare it.
    """

    def __init__(self, path: Path, signature: ModelSignature | None):
        self.path, self._signature = path, signature
        self.rows = _row_count(path)

    def digest(self) -> str:
        """Return the SHA-256 (hex) of the file, or of the manifest of the folder."""
        if self.path.is_dir():
            return digest_of_tree(self.path).removeprefix("sha256:")
        with self.path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()

    def batches(self, skip: int = 0) -> Iterator[Inputs]:
        """Yield `ROWS_AT_ONCE` rows at a time, after the first ``skip``; the last batch is shorter.

        Raises InvalidDataError as `read_evaluation_data` does, when the batch is reached.
        """
        for number, frame in enumerate(self._frames()):
            if number >= skip and len(frame):
                yield as_inputs(frame, self._signature, what=self.path.name)

    def _frames(self) -> Iterator[pd.DataFrame]:
        try:
            if self.path.is_dir():
                yield from data_sets.frames(self.path, ROWS_AT_ONCE)
            elif self.path.suffix == ".csv":
                check_csv(self.path)
                types = csv_types(self._signature)
                yield from pd.read_csv(self.path, dtype=types, chunksize=ROWS_AT_ONCE)
            elif self.path.suffix == ".parquet":
                yield from self._parquet_frames()
            else:
                yield from self._arrow_frames()
        except UNREADABLE as error:
            reason = one_line(error)
            raise InvalidDataError(f"{self.path.name!r} cannot be read: {reason}") from error

    def _parquet_frames(self) -> Iterator[pd.DataFrame]:
        import pyarrow.parquet as pq

        check_parquet(self.path)
        for group in range(pq.read_metadata(self.path).num_row_groups):
            # A reader keeps what it has read until it is closed, so each group has its own.
            with pq.ParquetFile(self.path) as file:
                for batch in file.iter_batches(ROWS_AT_ONCE, row_groups=[group]):
                    yield batch.to_pandas()

    def _arrow_frames(self) -> Iterator[pd.DataFrame]:
        import pyarrow as pa

        with pa.memory_map(str(self.path)) as source:
            file = pa.ipc.open_file(source)
            check_arrow(file.schema, self.path)
            for number in range(file.num_record_batches):
                batch = file.get_batch(number)
                for start in range(0, len(batch), ROWS_AT_ONCE):
                    yield batch.slice(start, ROWS_AT_ONCE).to_pandas()


def evaluation_data(
    location: str | Path, signature: ModelSignature | None
) -> tuple[Inputs, RowStream | None]:
    """Return the rows at ``location``; for large data the first batch, and the stream.

    Raises what `read_evaluation_data` does.
    """
    path = local_file(str(location))
    stream = large_data(path, signature)
    return (next(stream.batches()), stream) if stream else (read_local(path, signature), None)


def large_data(path: object, signature: ModelSignature | None) -> RowStream | None:
    """Return a stream if ``path`` is a file or folder too large to read at once; else None."""
    if not isinstance(path, Path):
        return None
    if path.suffix == ".csv" and path.is_file():
        large = path.stat().st_size > _MOST_BYTES_OF_CSV
        return RowStream(path, signature) if large else None
    known = path.is_file() and path.suffix in (".parquet", ".arrow", ".feather")
    if not known and not data_sets.is_data_set(path):
        return None
    stream = RowStream(path, signature)
    return stream if stream.rows is not None and stream.rows > _MOST_ROWS else None


def _row_count(path: Path) -> int | None:
    """Return the rows that the file declares; None if it declares none or is broken.

    The error of a broken file is reported when it is read.
    """
    import pyarrow as pa

    try:
        if path.is_dir():
            return data_sets.row_count(path)
        if path.suffix == ".parquet":
            import pyarrow.parquet as pq

            return pq.read_metadata(path).num_rows
        if path.suffix in (".arrow", ".feather"):
            with pa.memory_map(str(path)) as source:
                file = pa.ipc.open_file(source)
                return sum(len(file.get_batch(at)) for at in range(file.num_record_batches))
    except UNREADABLE:
        return None
    return None
