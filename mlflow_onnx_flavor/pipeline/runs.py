"""A step is an MLflow run: start it, write its records, read those of earlier steps."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import BaseModel

from mlflow_onnx_flavor.errors import CorruptModelError, OnnxFlavorError, one_line
from mlflow_onnx_flavor.machine.disk import storage_error
from mlflow_onnx_flavor.machine.process_id import is_gone, this_process
from mlflow_onnx_flavor.machine.scratch import new_folder
from mlflow_onnx_flavor.redaction import redact
from mlflow_onnx_flavor.schemas.tags import DONE_TAG, ERROR_TAG, KEY_TAG, PROCESS_TAG, STEP_TAG
from mlflow_onnx_flavor.tracking.retrying import retried
from mlflow_onnx_flavor.tracking.server import check_server, refusal_of, refusals

if TYPE_CHECKING:
    import mlflow
    from mlflow.entities import Run

Record = TypeVar("Record", bound=BaseModel)


@contextmanager
def step_run(
    step: str, parent_run_id: str | None = None, key: str = ""
) -> Iterator[mlflow.ActiveRun]:
    """The run of ``step``: a child of the active run or of ``parent_run_id``, else a run alone.

    Under ``mlflow run`` it is the run that MLflow made for the entry point.  An error marks the run
    as failed and leaves its sentence in the tag ``onnx.error``.  ``key``: under which what it did
    is found again (see `keys`), once all of it is written.
    """
    import mlflow

    check_server()
    nested = mlflow.active_run() is not None
    tags = {STEP_TAG: step, PROCESS_TAG: this_process()} | ({KEY_TAG: key} if key else {})
    with refusals(), mlflow.start_run(run_name=step, nested=nested, tags=tags) as run:
        if parent_run_id and not nested:
            mlflow.set_tag("mlflow.parentRunId", parent_run_id)
        try:
            yield run
        except OnnxFlavorError as error:
            mlflow.set_tag(ERROR_TAG, one_line(error)[:5000])
            raise
        except Exception as error:
            if (known := storage_error(error)) is None:
                raise
            mlflow.set_tag(ERROR_TAG, one_line(known)[:5000])
            raise known from error
        if key:
            mlflow.set_tag(DONE_TAG, key)


def is_finished_with(run: Run, key: str) -> bool:
    """Whether all that the step of that key does is in the run."""
    return run.info.status == "FINISHED" and run.data.tags.get(DONE_TAG) == key


def step_experiment_id() -> str:
    """The experiment that a step's run goes to."""
    import mlflow
    from mlflow.tracking.fluent import _get_experiment_id

    active = mlflow.active_run()
    found: Any = active.info.experiment_id if active else _get_experiment_id()
    return found


def end_abandoned_runs() -> None:
    """Mark as killed the steps of this experiment that a process of this machine left unfinished.

    A process that is killed cannot say so, and its runs would be under way for ever.
    """
    from mlflow import MlflowClient

    check_server()
    client = MlflowClient()
    with refusals():
        running = client.search_runs(
            [step_experiment_id()],
            f"attributes.status = 'RUNNING' and tags.`{STEP_TAG}` != ''",
            max_results=1000,
        )
    for run in running:
        owner = run.data.tags.get(PROCESS_TAG, "")
        if owner and is_gone(owner):
            client.set_tag(run.info.run_id, ERROR_TAG, f"its process ({owner}) ended unfinished")
            client.set_terminated(run.info.run_id, "KILLED")


def parent_of(run_id: str) -> str:
    """The release that the run of a step was made for; "" where it was made alone."""
    import mlflow

    return mlflow.get_run(run_id).data.tags.get("mlflow.parentRunId", "")


def log_record(record: BaseModel, name: str) -> None:
    """Write ``record`` to the active run as the JSON artifact ``name``."""
    import mlflow

    text = redact(record.model_dump_json(indent=2))
    retried(lambda: mlflow.log_text(text, name))


def read_record(run_id: str, name: str, kind: type[Record]) -> Record:
    """The JSON artifact ``name`` of a run.

    Raises CorruptModelError where the run lacks it or it is of another schema.
    """
    import mlflow
    from mlflow.exceptions import MlflowException

    try:
        text = retried(lambda: mlflow.artifacts.load_text(f"runs:/{run_id}/{name}"))
        return kind.model_validate_json(text)
    except (MlflowException, OSError, ValueError) as error:
        raise refusal_of(error) or CorruptModelError(
            f"run {run_id!r} has no readable {name} ({one_line(error)}); give the id of the run"
            f" of the step that writes it"
        ) from error


@contextmanager
def scratch_folder() -> Iterator[Path]:
    """A folder for this step alone, removed at its end."""
    folder = new_folder("step")
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
