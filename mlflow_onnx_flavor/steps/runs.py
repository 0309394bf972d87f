"""A step is an MLflow run: start it, write its records, read those of earlier steps."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from pydantic import BaseModel

from mlflow_onnx_flavor.errors import CorruptModelError, OnnxFlavorError
from mlflow_onnx_flavor.sources import check_server, one_line

if TYPE_CHECKING:
    import mlflow

Record = TypeVar("Record", bound=BaseModel)

STEP_TAG = "onnx.step"
ERROR_TAG = "onnx.error"


@contextmanager
def step_run(step: str, parent_run_id: str | None = None) -> Iterator[mlflow.ActiveRun]:
    """The run of ``step``: a child of the active run or of ``parent_run_id``, else a run alone.

    Under ``mlflow run`` it is the run that MLflow made for the entry point.  An error marks the run
    as failed and leaves its sentence in the tag ``onnx.error``.
    """
    import mlflow

    check_server()
    nested = mlflow.active_run() is not None
    with mlflow.start_run(run_name=step, nested=nested, tags={STEP_TAG: step}) as run:
        if parent_run_id and not nested:
            mlflow.set_tag("mlflow.parentRunId", parent_run_id)
        try:
            yield run
        except OnnxFlavorError as error:
            mlflow.set_tag(ERROR_TAG, one_line(error)[:5000])
            raise


def log_record(record: BaseModel, name: str) -> None:
    """Write ``record`` to the active run as the JSON artifact ``name``."""
    import mlflow

    mlflow.log_text(record.model_dump_json(indent=2), name)


def read_record(run_id: str, name: str, kind: type[Record]) -> Record:
    """The JSON artifact ``name`` of a run.

    Raises CorruptModelError where the run lacks it or it is of another schema.
    """
    import mlflow
    from mlflow.exceptions import MlflowException

    try:
        return kind.model_validate_json(mlflow.artifacts.load_text(f"runs:/{run_id}/{name}"))
    except (MlflowException, OSError, ValueError) as error:
        raise CorruptModelError(
            f"run {run_id!r} has no readable {name} ({one_line(error)}); give the id of the run"
            f" of the step that writes it"
        ) from error


@contextmanager
def scratch_folder() -> Iterator[Path]:
    """A folder for this step alone, removed at its end."""
    folder = Path(tempfile.mkdtemp(prefix="mlflow-onnx-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
