"""MLflow runs of steps: start one, write its records, read the records of earlier steps."""

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
    """Start the run of ``step`` and yield it.

    It is a child of the active run or of ``parent_run_id``; without either it stands alone. Under
    ``mlflow run`` it is the run that MLflow created for the entry point.  An error marks the run as
    failed and is kept as one sentence in the tag ``onnx.error``.  ``key``: the key under which
    `pipeline.cache` finds the result again, set once everything is written.
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
    """Return whether the run finished and holds everything that the step with ``key`` writes."""
    return run.info.status == "FINISHED" and run.data.tags.get(DONE_TAG) == key


def step_experiment_id() -> str:
    """Return the id of the experiment that a step's run goes to."""
    import mlflow
    from mlflow.tracking.fluent import _get_experiment_id

    active = mlflow.active_run()
    found: Any = active.info.experiment_id if active else _get_experiment_id()
    return found


def end_abandoned_runs() -> None:
    """Mark the steps of this experiment as killed whose process on this machine ended early.

    A killed process cannot end its runs, which would otherwise stay in progress for ever.
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
    """Return the id of the release's run that a step's run belongs to; "" where it ran alone."""
    import mlflow

    return mlflow.get_run(run_id).data.tags.get("mlflow.parentRunId", "")


def log_record(record: BaseModel, name: str) -> None:
    """Write ``record`` to the active run as the JSON artifact ``name``."""
    import mlflow

    text = redact(record.model_dump_json(indent=2))
    retried(lambda: mlflow.log_text(text, name))


def read_record(run_id: str, name: str, kind: type[Record]) -> Record:
    """Return the JSON artifact ``name`` of a run.

    Raises CorruptModelError where the run lacks the artifact or it has another schema.
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
    """Yield a folder for this step alone, and remove it at the end."""
    folder = new_folder("step")
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
