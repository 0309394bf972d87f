"""Explanation of a conversion (`mlflow-onnx explain`): strategies, reasons and outcomes."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict

from mlflow_onnx_flavor.conversion.convert import Attempt, convert_model
from mlflow_onnx_flavor.conversion.options import conversion_options
from mlflow_onnx_flavor.errors import ConversionError
from mlflow_onnx_flavor.machine.scratch import temporary_folder
from mlflow_onnx_flavor.pipeline.log_source import prepare_source
from mlflow_onnx_flavor.schemas.configuration import Configuration
from mlflow_onnx_flavor.source.environment import VersionDifference
from mlflow_onnx_flavor.source.process import started


class Explanation(BaseModel):
    """A description of the model, and its strategies in order with the outcome of each.

    The first strategy that is correct ends the trial; those after it are "not tried".
    ``differences``: the model's recorded pins that its process does not meet.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    model_uri: str
    framework: str
    description: str
    versions: dict[str, str]
    differences: tuple[VersionDifference, ...]
    strategies: tuple[Attempt, ...]

    @property
    def converts(self) -> bool:
        """True where a strategy gave a correct model."""
        return any(each.outcome == "converted" for each in self.strategies)


def explain(
    model_uri: str, data: str | None = None, *, configuration: Configuration | None = None
) -> Explanation:
    """Load the source in a child process and try the strategies there; nothing is kept.

    Raises what `prepare_source` raises.
    """
    configuration = configuration or Configuration()
    prepared = prepare_source(model_uri, data, configuration)
    rows, source = prepared.example or prepared.evaluation, prepared.source
    with (
        started(source.folder, source.framework, configuration) as worker,
        temporary_folder("explain") as folder,
    ):
        planned = worker.call("plan", example_path=worker.path_of(rows))
        try:
            attempts = convert_model(
                source.folder,
                source.framework,
                rows,
                prepared.evaluation,
                Path(folder),
                worker=worker,
                **conversion_options(configuration, source),
            ).attempts
        except ConversionError as error:
            attempts = error.attempts
        return Explanation(
            model_uri=source.resolved_uri,
            framework=source.framework,
            description=f"{planned['description']} ({source.framework})",
            versions=dict(worker.versions),
            differences=worker.differences,
            strategies=attempts,
        )
