"""The data set that a run logged as its input, found on this machine or fetched."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mlflow_onnx_flavor.errors import InvalidDataError, one_line
from mlflow_onnx_flavor.inputs.readers.data_sets import delta_version

_AS_PARQUET = "save it as a Parquet file, and give that"


def file_of_data_set(run_id: str) -> Path:
    """Return the local file or folder of the data set that the run ``run_id`` logged as input.

    It is the one of the context "evaluation", else the only one.  Delta tables and Hugging Face
    data sets are those on this machine, as they were logged; files of stores and of the web are
    fetched.  Raises InvalidDataError for any other, with what to do.
    """
    import mlflow.data
    from mlflow import MlflowClient

    logged = MlflowClient().get_run(run_id).inputs
    inputs = logged.dataset_inputs if logged else []
    chosen = [each for each in inputs if _context(each) == "evaluation"] or list(inputs)
    if len(chosen) != 1:
        raise InvalidDataError(
            f"run {run_id!r} has the data sets {[each.dataset.name for each in inputs]}; log one of"
            " them as an input with context='evaluation', or name its file"
        )
    source, name = mlflow.data.get_source(chosen[0]), chosen[0].dataset.name
    readers = {"delta_table": _delta_table, "hugging_face": _hugging_face}
    return readers.get(source._get_source_type(), _file)(name, source)


def _context(dataset_input: Any) -> str:
    tags = {tag.key: tag.value for tag in dataset_input.tags}
    return tags.get("mlflow.data.context", "")


def _delta_table(name: str, source: Any) -> Path:
    folder = _on_this_machine(source.path)
    if folder is None:
        raise InvalidDataError(
            f"data set {name!r} is the Delta table {source.path or source.delta_table_name!r},"
            f" which is not on this machine; {_AS_PARQUET}"
        )
    logged, found = source.delta_table_version, delta_version(folder)
    if logged is not None and logged != found:
        raise InvalidDataError(
            f"data set {name!r} is version {logged} of the Delta table {folder.name!r}, which is"
            f" now at version {found}; save that version as a Parquet file, and give that"
        )
    return folder


def _hugging_face(name: str, source: Any) -> Path:
    """Return a folder that `save_to_disk` wrote, or its split if one is named; or a file."""
    files = [source.data_files] if isinstance(source.data_files, str) else source.data_files or []
    path = _on_this_machine(files[0] if len(files) == 1 else source.path)
    if path is None or len(files) > 1 or source.data_dir:
        raise InvalidDataError(
            f"data set {name!r} is {source.path!r} of Hugging Face, which is not a folder on this"
            " machine; write it with its save_to_disk, and give that folder"
        )
    splits = [each.name for each in path.iterdir() if each.is_dir()] if path.is_dir() else []
    if not (path / "dataset_dict.json").is_file():
        return path
    if source.split not in splits:
        raise InvalidDataError(
            f"data set {name!r} is in the folder {path.name!r} with the splits {sorted(splits)};"
            " give the folder of one of them"
        )
    return path / source.split


def _file(name: str, source: Any) -> Path:
    from mlflow.exceptions import MlflowException

    try:
        found = source.path if hasattr(source, "path") else source.load()
    except (MlflowException, NotImplementedError, ImportError, OSError) as error:
        raise InvalidDataError(
            f"data set {name!r} cannot be loaded: {one_line(error)}; {_AS_PARQUET}"
        ) from error
    if not isinstance(found, str | Path):
        raise InvalidDataError(
            f"data set {name!r} is no file but a {type(found).__name__}; {_AS_PARQUET}"
        )
    return Path(str(found).removeprefix("file://"))


def _on_this_machine(location: str | None) -> Path | None:
    if not location:
        return None
    path = Path(location.removeprefix("file://").removeprefix("file:"))
    return path if path.exists() else None
