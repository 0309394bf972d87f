"""Step 3: build the other candidates from the converted model, and record those that fail."""

from __future__ import annotations

from typing import Any

from mlflow_onnx_flavor import candidates
from mlflow_onnx_flavor.artifact.digests import digest_of, size_of
from mlflow_onnx_flavor.candidates.base import CandidateError, Measuring
from mlflow_onnx_flavor.conversion.convert import Conversion
from mlflow_onnx_flavor.conversion.options import required_providers
from mlflow_onnx_flavor.onnx_graph.files import MODEL_FILE
from mlflow_onnx_flavor.pipeline.cache import finished, hardware, step_key
from mlflow_onnx_flavor.pipeline.context import ReleaseContext
from mlflow_onnx_flavor.pipeline.convert import CONVERTED, log_candidate
from mlflow_onnx_flavor.pipeline.downloads import model_folder
from mlflow_onnx_flavor.pipeline.runs import log_record, read_record, scratch_folder, step_run
from mlflow_onnx_flavor.schemas.configuration import Configuration
from mlflow_onnx_flavor.schemas.records import (
    CANDIDATES,
    CONVERSION,
    CandidateRecord,
    CandidatesRecord,
    ConvertedRecord,
    SkippedCandidate,
)

MEASURED_ROWS = 4096  # at most, for a candidate that is built by measuring


def optimize(
    convert_run_id: str,
    configuration: Configuration,
    *,
    parent_run_id: str | None = None,
    context: ReleaseContext | None = None,
) -> CandidatesRecord:
    """Build and log every candidate that the configuration names.

    ``context``: the context of the earlier steps, where they ran in this process.
    """
    key = _key(convert_run_id, configuration)
    if found := finished("optimize", key, configuration, _read):
        return found
    context = context or ReleaseContext(configuration)
    converted = context.record(convert_run_id, CONVERTED, ConvertedRecord)
    conversion = context.record(convert_run_id, CONVERSION, Conversion)
    source_record = context.source_record(converted.source_run_id)
    source = context.source(source_record)
    evaluation, example = context.rows(source_record)
    rows = example or evaluation
    built: list[CandidateRecord] = []
    skipped: list[SkippedCandidate] = []
    with step_run("optimize", parent_run_id, key) as run, scratch_folder() as folder:
        measuring = Measuring(
            inputs=(evaluation or example).take(slice(0, MEASURED_ROWS)).save(folder / "inputs"),
            graph=conversion.graph,
            provider=required_providers(configuration)[0],
            batch_sizes=configuration.gates.latency.batch_sizes,
            confidence=configuration.gates.latency.confidence,
            seconds=configuration.budget.tuning_seconds,
        )
        for name in configuration.candidates:
            if name == "converted":
                built.append(_record(name, converted.model_uri, converted.description))
                continue
            path = model_folder(converted.model_uri) / MODEL_FILE
            try:
                candidate = candidates.build(
                    name, path, conversion.graph, folder / name, measuring=measuring
                )
            except CandidateError as error:
                skipped.append(SkippedCandidate(name=name, cause=str(error)))
                continue
            uri = log_candidate(
                candidate.path,
                name,
                candidate.graph,
                candidate.session_options,
                source,
                rows,
                configuration,
            )
            built.append(_record(name, uri, candidate.description, candidate.details))
        record = CandidatesRecord(
            run_id=run.info.run_id,
            source_run_id=converted.source_run_id,
            convert_run_id=convert_run_id,
            candidates=tuple(built),
            skipped=tuple(skipped),
        )
        log_record(record, CANDIDATES)
        return record


def _key(convert_run_id: str, configuration: Configuration) -> str:
    return step_key(
        "optimize",
        convert_run_id=convert_run_id,
        candidates=configuration.candidates,
        serve_on=required_providers(configuration)[0].model_dump(),
        tuning=[
            configuration.budget.tuning_seconds,
            configuration.gates.latency.batch_sizes,
            configuration.gates.latency.confidence,
            hardware(),
        ]
        if any(candidates.is_measured(name) for name in configuration.candidates)
        else None,
    )


def _read(run_id: str) -> CandidatesRecord:
    return read_record(run_id, CANDIDATES, CandidatesRecord)


def _record(
    name: str, model_uri: str, description: str, details: dict[str, Any] | None = None
) -> CandidateRecord:
    folder = model_folder(model_uri)
    return CandidateRecord(
        name=name,
        model_uri=model_uri,
        digest=digest_of(folder),
        size_bytes=size_of(folder),
        description=description,
        details=details or {},
    )
