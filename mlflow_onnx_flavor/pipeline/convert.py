"""Step 2: convert the source model to ONNX and log the result with the record of all attempts."""

from __future__ import annotations

from mlflow_onnx_flavor import flavor
from mlflow_onnx_flavor.conversion.convert import Conversion, convert_model
from mlflow_onnx_flavor.conversion.options import conversion_options, required_providers
from mlflow_onnx_flavor.inputs import Inputs
from mlflow_onnx_flavor.pipeline.cache import finished, step_key, versions_of
from mlflow_onnx_flavor.pipeline.context import ReleaseContext
from mlflow_onnx_flavor.pipeline.runs import log_record, read_record, scratch_folder, step_run
from mlflow_onnx_flavor.redaction import redact
from mlflow_onnx_flavor.schemas.configuration import Configuration
from mlflow_onnx_flavor.schemas.records import CONVERSION, ConvertedRecord, SourceRecord
from mlflow_onnx_flavor.source.model import SourceModel

CONVERTED = "converted.json"


def convert(
    source_run_id: str,
    configuration: Configuration,
    *,
    parent_run_id: str | None = None,
    context: ReleaseContext | None = None,
) -> ConvertedRecord:
    """Convert the source that run ``source_run_id`` recorded.

    ``context``: the context of the earlier steps, where they ran in this process.

    Raises ConversionError where no strategy gives a correct model; the attempts are in the run.
    """
    context = context or ReleaseContext(configuration)
    record = context.source_record(source_run_id)
    key = _key(record, configuration)
    if found := finished("convert", key, configuration, _read):
        return found
    source = context.source(record)
    evaluation, example = context.rows(record)
    with (
        context.source_process(record) as worker,
        step_run("convert", parent_run_id, key) as run,
        scratch_folder() as folder,
    ):
        conversion = convert_model(
            source.folder,
            source.framework,
            example or evaluation,
            evaluation,
            folder,
            worker=worker,
            **conversion_options(configuration, source),
        )
        log_record(conversion, CONVERSION)
        converted = ConvertedRecord(
            run_id=run.info.run_id,
            source_run_id=source_run_id,
            model_uri=_log(conversion, source, example or evaluation, configuration),
            description=f"as exported by {conversion.strategy}",
            seconds=sum(attempt.seconds for attempt in conversion.attempts),
        )
        log_record(converted, CONVERTED)
        return converted


def _key(record: SourceRecord, configuration: Configuration) -> str:
    return step_key(
        "convert",
        source_run_id=record.run_id,
        options=configuration.conversion.model_dump(),
        source_env=configuration.source_env,
        serve_on=required_providers(configuration)[0].model_dump(),
        framework=versions_of(record.framework),
    )


def _read(run_id: str) -> ConvertedRecord:
    read_record(run_id, CONVERSION, Conversion)
    return read_record(run_id, CONVERTED, ConvertedRecord)


def log_candidate(
    path, name: str, graph, session_options, source: SourceModel, example: Inputs, configuration
) -> str:
    """Log one ONNX variant as an MLflow model under the active run; return its model URI."""
    logged = flavor.log_model(
        path,
        name=name,
        graph=graph,
        signature=source.signature,
        input_example=example.batch(min(example.rows, 5)).data,
        execution_providers=[
            provider.model_dump() for provider in required_providers(configuration)[:1]
        ],
        session_options=session_options,
        metadata={"source_uri": redact(source.resolved_uri), "source_digest": source.digest},
    )
    return f"models:/{logged.model_id}"


def _log(
    conversion: Conversion, source: SourceModel, example: Inputs, configuration: Configuration
) -> str:
    import mlflow

    mlflow.log_params(
        {
            "strategy": conversion.strategy,
            "opset": conversion.opset,
            "attempts": len(conversion.attempts),
        }
    )
    return log_candidate(
        conversion.path, "converted", conversion.graph, {}, source, example, configuration
    )
