"""A source worker's tasks in the test's own process: the same code, without a start for each."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import mlflow

from mlflow_onnx_flavor import scoring
from mlflow_onnx_flavor.conversion.convert import Conversion, convert_model
from mlflow_onnx_flavor.errors import OnnxFlavorError, WorkerTaskError
from mlflow_onnx_flavor.inputs import Inputs
from mlflow_onnx_flavor.source import tasks as source_worker


class InProcessSource:
    """Stands in for `SourceModelWorker` where nothing is meant to crash."""

    source_env, differences = "current", ()

    def __init__(self, folder: Path, framework: str, scratch: Path):
        self.framework, self._scratch = framework, scratch
        self.versions = source_worker.load(str(folder), framework)["versions"]

    def call(self, task: str, timeout_s: float = 0.0, **arguments):
        try:
            return getattr(source_worker, task)(**arguments)
        except OnnxFlavorError:
            raise
        except Exception as error:
            raise WorkerTaskError(f"{type(error).__name__}: {error}") from error

    def path_of(self, inputs: Inputs) -> Path:
        return inputs.save_exactly(self._scratch / inputs.digest()[:16])


def save_estimator(model: Any, rows: Any, folder: Path) -> None:
    """What `mlflow.sklearn` stores of ``model``, with the signature of ``rows``."""
    mlflow.sklearn.save_model(
        model,
        str(folder),
        signature=mlflow.models.infer_signature(rows),
        serialization_format="cloudpickle",
        pip_requirements=[],
    )


def converted(
    folder: Path, framework: str, example: Inputs, evaluation: Inputs | None, out: Path
) -> tuple[Conversion, InProcessSource]:
    source = InProcessSource(folder, framework, out / "inputs")
    return convert_model(folder, framework, example, evaluation, out, worker=source), source


def session_of(conversion: Conversion) -> scoring.ScoringSession:
    """The converted model, scored as the flavor would."""
    return scoring.open_graph(str(conversion.path), conversion.graph.model_dump(mode="json"))
