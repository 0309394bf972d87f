"""Step 4: measure whether candidates and source give the same answers, on every provider."""

from __future__ import annotations

from pathlib import Path

from mlflow_onnx_flavor import parity
from mlflow_onnx_flavor.artifact.saved_model import CandidateFolder
from mlflow_onnx_flavor.conversion.options import required_providers
from mlflow_onnx_flavor.machine import execution_providers
from mlflow_onnx_flavor.machine.scratch import temporary_folder
from mlflow_onnx_flavor.pipeline.cache import finished, hardware, step_key, versions_of
from mlflow_onnx_flavor.pipeline.context import ReleaseContext
from mlflow_onnx_flavor.pipeline.downloads import model_folder
from mlflow_onnx_flavor.pipeline.runs import log_record, read_record, step_run
from mlflow_onnx_flavor.schemas.configuration import Configuration
from mlflow_onnx_flavor.schemas.evidence import ExecutionProvider, ModelIdentity, ParityReport
from mlflow_onnx_flavor.schemas.records import (
    CANDIDATES,
    PARITY,
    CandidateRecord,
    CandidatesRecord,
    SourceRecord,
)

WORST_INPUTS = "worst_inputs"  # artifact folder of the rows that disagree most


def check_parity(
    optimize_run_id: str,
    configuration: Configuration,
    *,
    parent_run_id: str | None = None,
    context: ReleaseContext | None = None,
) -> tuple[str, ParityReport]:
    """Measure the parity of all candidates of run ``optimize_run_id``; return (run id, report).

    ``context``: the context of the earlier steps, where they ran in this process.
    """
    import mlflow

    context = context or ReleaseContext(configuration)
    built = context.record(optimize_run_id, CANDIDATES, CandidatesRecord)
    record = context.source_record(built.source_run_id)
    key = _key(optimize_run_id, record, configuration)
    if found := finished("check_parity", key, configuration, _read):
        return found
    source = context.source(record)
    evaluation, example = context.rows(record)
    with (
        context.source_process(record) as worker,
        step_run("check_parity", parent_run_id, key) as run,
        temporary_folder("parity") as scratch,
    ):
        mlflow.log_params({"optimize_run_id": optimize_run_id})
        report = parity.measure(
            parity.Plan(
                source.folder,
                source.framework,
                candidate_folders(built.candidates),
                evaluation,
                example,
                list(shown_providers(configuration)),
                batch_sizes=configuration.gates.latency.batch_sizes,
                source_identity=source.identity,
                source_worker=worker,
                spares=context.spares,
                probe_seed=configuration.probes.seed if configuration.probes.enabled else None,
                worst_inputs=Path(scratch) / WORST_INPUTS,
                more=context.more_rows(record),
                on_progress=context.on_progress,
            )
        )
        if (Path(scratch) / WORST_INPUTS).is_dir():
            mlflow.log_artifacts(str(Path(scratch) / WORST_INPUTS), WORST_INPUTS)
        log_record(report, PARITY)
        return run.info.run_id, report


def _key(optimize_run_id: str, record: SourceRecord, configuration: Configuration) -> str:
    return step_key(
        "check_parity",
        optimize_run_id=optimize_run_id,
        providers=[each.model_dump() for each in shown_providers(configuration)],
        batch_sizes=configuration.gates.latency.batch_sizes,
        probes=configuration.probes.model_dump(),
        source_env=configuration.source_env,
        framework=versions_of(record.framework),
        hardware=hardware(),
    )


def _read(run_id: str) -> tuple[str, ParityReport]:
    return run_id, read_record(run_id, PARITY, ParityReport)


def candidate_folders(records: tuple[CandidateRecord, ...]) -> list[CandidateFolder]:
    """Return the logged candidates as folders on this machine, with their recorded identities."""
    return [
        CandidateFolder(
            ModelIdentity(
                name=record.name,
                uri=record.model_uri,
                digest=record.digest,
                size_bytes=record.size_bytes,
            ),
            model_folder(record.model_uri),
        )
        for record in records
    ]


def shown_providers(configuration: Configuration) -> tuple[ExecutionProvider, ...]:
    """Return the required providers and, where the configuration names none, all others present."""
    required = required_providers(configuration)
    if configuration.execution_providers is not None:
        return required
    others = [
        ExecutionProvider(name=name)
        for name in execution_providers.available()
        if name not in {provider.name for provider in required}
    ]
    return (*required, *others)
