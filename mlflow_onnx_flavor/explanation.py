"""What a conversion would try, and why, without converting: `mlflow-onnx explain MODEL_URI`."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

from mlflow_onnx_flavor.source_environment import SourceEnv, VersionDifference
from mlflow_onnx_flavor.source_process import SourceModelWorker
from mlflow_onnx_flavor.steps.log_source import prepare_source


class PlannedStrategy(BaseModel):
    """An export strategy that would be tried."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    why: str
    exporter: str
    exporter_version: str


class Explanation(BaseModel):
    """What the model is, and the strategies in their order."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    model_uri: str
    framework: str
    description: str
    versions: dict[str, str]
    differences: tuple[VersionDifference, ...]
    strategies: tuple[PlannedStrategy, ...]


def explain(
    model_uri: str, data: str | None = None, *, source_env: SourceEnv = "current"
) -> Explanation:
    """Load the source in its worker and ask its framework for the plan.

    Raises what `prepare_source` raises, and UnsupportedModelError with the part that is in the way.
    """
    prepared = prepare_source(model_uri, data, source_env)
    rows = prepared.example or prepared.evaluation
    source = prepared.source
    with SourceModelWorker(source.folder, source.framework, source_env) as worker:
        planned = worker.call("plan", example_path=worker.path_of(rows))
        return Explanation(
            model_uri=source.resolved_uri,
            framework=source.framework,
            description=f"{planned['description']} ({source.framework})",
            versions=dict(worker.versions),
            differences=worker.differences,
            strategies=tuple(
                PlannedStrategy.model_validate(each) for each in planned["strategies"]
            ),
        )
