"""Data sets that are folders: Delta tables, Hugging Face data sets, Parquet files.

Each is read in batches of rows, never whole, and without the framework that wrote it, except Delta
tables, whose log `deltalake` reads.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from mlflow_onnx_flavor.errors import InvalidDataError
from mlflow_onnx_flavor.scoring.documents import parse_json, read_text

if TYPE_CHECKING:
    import pyarrow as pa


def is_data_set(folder: Path) -> bool:
    """Return whether ``folder`` is a folder that can be read."""
    return folder.is_dir() and (
        _is_delta(folder) or _is_hugging_face(folder) or any(folder.rglob("*.parquet"))
    )


def frames(folder: Path, rows_at_once: int) -> Iterator[pd.DataFrame]:
    """Yield the rows in order, at most ``rows_at_once`` at a time."""
    for batch in _batches(folder, rows_at_once):
        for start in range(0, len(batch), rows_at_once):
            yield batch.slice(start, rows_at_once).to_pandas()


def row_count(folder: Path) -> int:
    """Return the number of rows of the data set in ``folder``."""
    if _is_hugging_face(folder) and not _is_delta(folder):
        return sum(len(batch) for batch in _batches(folder, 0))
    return _data_set(folder).count_rows()


def delta_version(folder: Path) -> int:
    """Return the current version of the Delta table in ``folder``."""
    return _delta_table(folder).version()


def _is_delta(folder: Path) -> bool:
    return (folder / "_delta_log").is_dir()


def _is_hugging_face(folder: Path) -> bool:
    return (folder / "state.json").is_file() and (folder / "dataset_info.json").is_file()


def _batches(folder: Path, rows_at_once: int) -> Iterator[pa.RecordBatch]:
    if _is_delta(folder) or not _is_hugging_face(folder):
        yield from _data_set(folder).to_batches(
            batch_size=rows_at_once, batch_readahead=1, fragment_readahead=1
        )
        return
    import pyarrow as pa

    state = parse_json(read_text(folder / "state.json"))
    for file in state["_data_files"]:
        name = str(file["filename"])
        if Path(name).name != name:
            raise InvalidDataError(
                f"{folder.name!r} names the file {name[:200]!r}, which is not its own; save the"
                " data set again with save_to_disk"
            )
        with pa.memory_map(str(folder / name)) as source:
            yield from pa.ipc.open_stream(source)


def _data_set(folder: Path) -> Any:
    import pyarrow.dataset

    if not _is_delta(folder):
        files = sorted(str(file) for file in folder.rglob("*.parquet"))
        return pyarrow.dataset.dataset(files, format="parquet")
    return _delta_table(folder).to_pyarrow_dataset()


def _delta_table(folder: Path) -> Any:
    try:
        from deltalake import DeltaTable
    except ModuleNotFoundError as error:
        raise InvalidDataError(
            f"{folder.name!r} is a Delta table, which needs the package deltalake; install"
            " mlflow-onnx-flavor[delta]"
        ) from error
    return DeltaTable(str(folder))
