"""The summary that every report reads, collected from the records of the steps."""

from __future__ import annotations

from datetime import UTC, datetime

from mlflow_onnx_flavor._version import __version__
from mlflow_onnx_flavor.conversion.convert import Conversion
from mlflow_onnx_flavor.pipeline.runs import read_record
from mlflow_onnx_flavor.redaction import redacted
from mlflow_onnx_flavor.schemas.configuration import Configuration
from mlflow_onnx_flavor.schemas.evidence import LatencyReport, ParityReport
from mlflow_onnx_flavor.schemas.records import (
    CANDIDATES,
    CONVERSION,
    LATENCY,
    PARITY,
    SOURCE,
    CandidatesRecord,
    DataRecord,
    SourceRecord,
)
from mlflow_onnx_flavor.schemas.summary import (
    AttemptSummary,
    ConversionSummary,
    DataSummary,
    ReleaseSummary,
    SkippedCandidate,
    SourceSummary,
)
from mlflow_onnx_flavor.schemas.tuning import Tuning
from mlflow_onnx_flavor.schemas.verdict import Verdict
from mlflow_onnx_flavor.source.environment import environment_note


def summarize(
    *,
    parity_run_id: str,
    latency_run_id: str,
    verdict: Verdict,
    configuration: Configuration,
    registered_model: str,
) -> ReleaseSummary:
    """Return the summary of a release whose steps ran one by one, from their records."""
    import mlflow

    optimize_run_id = mlflow.get_run(parity_run_id).data.params["optimize_run_id"]
    built = read_record(optimize_run_id, CANDIDATES, CandidatesRecord)
    source = read_record(built.source_run_id, SOURCE, SourceRecord)
    conversion = read_record(built.convert_run_id, CONVERSION, Conversion)
    summary = ReleaseSummary(
        package_version=__version__,
        finished_at=now(),
        source=summarize_source(source),
        registered_model=registered_model,
        configuration=configuration,
        data=summarize_data(source),
        conversion=summarize_conversion(conversion.attempts, conversion),
        skipped=summarize_skipped(built),
        tuning=summarize_tuning(built),
        parity=read_record(parity_run_id, PARITY, ParityReport),
        latency=read_record(latency_run_id, LATENCY, LatencyReport),
        verdict=verdict,
    )
    return redacted(summary)


def now() -> str:
    """Return the current time in ISO 8601 format, with its offset from UTC."""
    return datetime.now(UTC).astimezone().isoformat(timespec="seconds")


def summarize_source(source: SourceRecord) -> SourceSummary:
    """Return the source's part of the summary."""
    return SourceSummary(
        uri=source.uri,
        resolved_uri=source.model_uri,
        framework=source.framework,
        digest=source.digest,
        run_id=source.run_id,
        signature=source.signature,
    )


def summarize_data(source: SourceRecord) -> DataSummary | None:
    """Return the summary of the evaluation data, or of the input example where there is none."""
    kept: DataRecord | None = source.evaluation or source.example
    if kept is None:
        return None
    return DataSummary(name=kept.origin, path=kept.location, rows=kept.rows, digest=kept.digest)


def summarize_conversion(attempts, conversion: Conversion | None) -> ConversionSummary:
    """Return the summary of a conversion; ``conversion`` is None where every attempt failed."""
    return ConversionSummary(
        attempts=tuple(
            AttemptSummary(
                strategy=attempt.strategy,
                why=attempt.why,
                exporter=attempt.exporter,
                exporter_version=attempt.exporter_version,
                seconds=attempt.seconds,
                outcome=attempt.outcome,
                cause=attempt.cause,
                remedy=attempt.remedy,
            )
            for attempt in attempts
        ),
        strategy=conversion.strategy if conversion else None,
        opset=conversion.opset if conversion else None,
        seconds=sum(attempt.seconds for attempt in attempts),
        environment_note=_environment_note(conversion) if conversion else "",
    )


def _environment_note(conversion: Conversion) -> str:
    if conversion.source_env == "current":
        return environment_note(conversion.differences, tuple(conversion.versions))
    versions = ", ".join(f"{name} {version}" for name, version in conversion.versions.items())
    return f"the source ran in the environment that it recorded: {versions}"


def summarize_skipped(built: CandidatesRecord) -> tuple[SkippedCandidate, ...]:
    """Return the candidates that could not be built, with the reasons."""
    return tuple(SkippedCandidate(name=each.name, reason=each.cause) for each in built.skipped)


def summarize_tuning(built: CandidatesRecord) -> Tuning | None:
    """Return the settings tried for the candidate that was built by measuring; None without one."""
    details = next((each.details for each in built.candidates if each.details), None)
    return None if details is None else Tuning.model_validate(details)
