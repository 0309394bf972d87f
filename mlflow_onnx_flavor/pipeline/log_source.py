"""Step 1: record the model to release and its rows, and store both where later steps reach them."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from mlflow_onnx_flavor.errors import MissingSignatureError
from mlflow_onnx_flavor.inputs import Inputs, as_inputs, input_example
from mlflow_onnx_flavor.inputs.readers.streams import RowStream, evaluation_data
from mlflow_onnx_flavor.pipeline.cache import finished, step_key
from mlflow_onnx_flavor.pipeline.runs import log_record, read_record, scratch_folder, step_run
from mlflow_onnx_flavor.redaction import redact
from mlflow_onnx_flavor.schemas.configuration import Configuration
from mlflow_onnx_flavor.schemas.records import SOURCE, DataRecord, SourceRecord
from mlflow_onnx_flavor.source.model import SourceModel, resolve_source
from mlflow_onnx_flavor.source.pickle_scan import check_pickles
from mlflow_onnx_flavor.tracking.retrying import retried

if TYPE_CHECKING:
    pass


@dataclass(frozen=True)
class PreparedSource:
    """A source model and the rows to release it on, which were checked against its signature."""

    source: SourceModel
    evaluation: Inputs | None
    location: str  # path or URI of the evaluation data; "" for rows from memory
    example: Inputs | None
    more: RowStream | None = None  # the whole of large data; ``evaluation`` holds its first rows


def prepare_source(
    model_uri: str, data: object = None, configuration: Configuration | None = None
) -> PreparedSource:
    """Resolve ``model_uri`` and check ``data`` against its signature; no run is created or changed.

    ``data``: a path or artifact URI of evaluation data, or the rows themselves (DataFrame, array,
    dictionary of arrays); None to use the model's input example alone.  ``configuration``: decides
    in which environment the source runs, and whether its pickles are scanned first.

    Raises what `resolve_source`, `check_pickles` and `read_evaluation_data` raise, and
    MissingSignatureError for a bare ``.onnx`` file and where there is neither data nor an example.
    """
    configuration = configuration or Configuration()
    source = resolve_source(model_uri, configuration.source_env)
    if source.folder.is_file():
        raise MissingSignatureError(
            f"{model_uri!r} is a bare file, which says nothing about its inputs and cannot be"
            " registered; log it with mlflow_onnx_flavor.log_model(FILE, name=...,"
            " input_example=X[:5]) and give the URI of that"
        )
    if configuration.scan_source:
        check_pickles(source.folder, model_uri)
    evaluation, location, more = _evaluation(data, source)
    example = _example(source)
    if evaluation is None and example is None:
        raise MissingSignatureError(
            f"{model_uri!r} has no input example, so there is nothing to run it on; give evaluation"
            " data with --data FILE, or log the model again with input_example=X[:5]"
        )
    return PreparedSource(source, evaluation, location, example, more)


def log_source(
    prepared: PreparedSource,
    configuration: Configuration,
    *,
    parent_run_id: str | None = None,
) -> SourceRecord:
    """Record the source model and its rows in a run.

    A model that is a local folder, or whose URI holds credentials, is uploaded, since later steps
    may run elsewhere.
    """
    import mlflow

    source = prepared.source
    key = _key(prepared)
    if found := finished("log_source", key, configuration, _read):
        return found
    with step_run("log_source", parent_run_id, key) as run:
        record = SourceRecord(
            run_id=run.info.run_id,
            uri=source.uri,
            model_uri=_reachable_uri(source, run),
            framework=source.framework,
            digest=source.digest,
            size_bytes=source.size_bytes,
            signature=str(source.signature),
            evaluation=_keep(prepared.evaluation, "evaluation", prepared.location, prepared.more),
            example=_keep(prepared.example, "example", ""),
        )
        mlflow.log_params(
            {
                "source_uri": record.model_uri,
                "framework": record.framework,
                "digest": record.digest,
            }
        )
        link_inputs(record, prepared.evaluation or prepared.example, run.info.run_id)
        log_record(record, SOURCE)
        return record


def _key(prepared: PreparedSource) -> str:
    source, whole = prepared.source, prepared.more
    return step_key(
        "log_source",
        uri=source.resolved_uri,
        digest=source.digest,
        signature=str(source.signature),
        location=prepared.location,
        inputs=[
            each and (each.digest(), each.origin)
            for each in (prepared.evaluation, prepared.example)
        ],
        whole=whole and whole.digest(),
    )


def _read(run_id: str) -> SourceRecord:
    return read_record(run_id, SOURCE, SourceRecord)


def _evaluation(data: object, source: SourceModel) -> tuple[Inputs | None, str, RowStream | None]:
    """Return the evaluation rows, their location, and the stream of the whole of large data.

    The rows are the first of that stream.
    """
    if data is None or (isinstance(data, str) and not data):
        return None, "", None
    if isinstance(data, str | Path):
        rows, more = evaluation_data(data, source.signature)
        return rows, str(data), more
    return as_inputs(data, source.signature), "", None


def _example(source: SourceModel) -> Inputs | None:
    if source.metadata is None or source.signature is None:
        return None
    return input_example(source.metadata, source.folder, source.signature)


def _reachable_uri(source: SourceModel, run) -> str:
    uri = source.resolved_uri
    # Only this user may use a URI with credentials, so it is never stored.
    if ":/" in uri and not uri.startswith("file:") and uri == redact(uri):
        return uri
    from mlflow import MlflowClient

    client = MlflowClient()
    logged = client.create_logged_model(
        run.info.experiment_id, name="source", source_run_id=run.info.run_id
    )
    client.log_model_artifacts(logged.model_id, str(source.folder))
    client.finalize_logged_model(logged.model_id, "READY")
    return f"models:/{logged.model_id}"


def _keep(
    inputs: Inputs | None, name: str, location: str, more: RowStream | None = None
) -> DataRecord | None:
    if inputs is None:
        return None
    import mlflow

    with scratch_folder() as folder:
        path = inputs.save(folder)
        mlflow.log_artifact(str(path), f"inputs/{name}")
    whole, rows, digest = "", inputs.rows, inputs.digest()
    if more is not None:
        mlflow.log_artifact(str(more.path), f"inputs/{name}-whole")
        whole = f"inputs/{name}-whole/{more.path.name}"
        rows, digest = more.rows or rows, more.digest()
    return DataRecord(
        artifact=f"inputs/{name}/{path.name}",
        origin=inputs.origin,
        rows=rows,
        digest=digest,
        location=location,
        whole=whole,
    )


def link_inputs(record: SourceRecord, inputs: Inputs, run_id: str) -> None:
    """Link the active run ``run_id`` to the source model and the data set, as MLflow's inputs."""
    import mlflow
    from mlflow import MlflowClient
    from mlflow.entities import LoggedModelInput

    # Two concurrent releases create the same data set, and the store refuses the second.
    dataset = _mlflow_dataset(record, inputs)
    retried(lambda: mlflow.log_input(dataset, context="evaluation"))
    if model_id := _logged_model_id(record.model_uri):
        MlflowClient().log_inputs(run_id, models=[LoggedModelInput(model_id)])


def _logged_model_id(model_uri: str) -> str | None:
    """Return MLflow's id of the model that ``models:/m-...`` or ``models:/NAME/VERSION`` names."""
    from mlflow import MlflowClient

    if not model_uri.startswith("models:/"):
        return None
    name, _, version = model_uri.removeprefix("models:/").rpartition("/")
    if not name:
        return version
    # A SQL store keeps the id of a version's model in the version's source only.
    source = MlflowClient().get_model_version(name, version).source
    return source.removeprefix("models:/") if source.startswith("models:/m-") else None


def _mlflow_dataset(record: SourceRecord, inputs: Inputs):
    """Return the rows as an MLflow data set, so that the UI links runs, models and data."""
    import mlflow.data
    import pandas as pd
    from mlflow import MlflowClient
    from mlflow.data.code_dataset_source import CodeDatasetSource

    kept = record.evaluation or record.example
    source = MlflowClient().get_run(record.run_id).info.artifact_uri + f"/{kept.artifact}"
    # MLflow has no data set source for its own proxy, and credentials are never stored.
    if source.startswith("mlflow-artifacts:") or source != redact(source):
        source = CodeDatasetSource({"artifact": f"runs:/{record.run_id}/{kept.artifact}"})
    # MLflow warns that several of its own readers fit an artifact; each of them does.
    warnings.filterwarnings("ignore", message="The specified dataset source can be interpreted")
    options = {"source": source, "name": kept.origin, "digest": kept.digest[:12]}
    if isinstance(inputs.data, pd.DataFrame):
        # MLflow sets these functions while it is imported.
        return mlflow.data.from_pandas(inputs.data, **options)  # type: ignore[attr-defined]  # set late
    return mlflow.data.from_numpy(inputs.data, **options)  # type: ignore[attr-defined]  # as above
