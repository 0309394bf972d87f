"""Step 5: measure whether candidates are faster than the source, on the required providers."""

from __future__ import annotations

from mlflow_onnx_flavor import frameworks, latency
from mlflow_onnx_flavor.artifact.digests import digest_of, size_of
from mlflow_onnx_flavor.artifact.identity import identity_of
from mlflow_onnx_flavor.artifact.saved_model import CandidateFolder
from mlflow_onnx_flavor.conversion.options import required_providers
from mlflow_onnx_flavor.gates import is_undecided
from mlflow_onnx_flavor.latency.statistics import Precision
from mlflow_onnx_flavor.pipeline.cache import finished, hardware, step_key, versions_of
from mlflow_onnx_flavor.pipeline.check_parity import candidate_folders
from mlflow_onnx_flavor.pipeline.context import ReleaseContext
from mlflow_onnx_flavor.pipeline.downloads import model_folder
from mlflow_onnx_flavor.pipeline.runs import log_record, read_record, step_run
from mlflow_onnx_flavor.schemas.configuration import Configuration
from mlflow_onnx_flavor.schemas.evidence import LatencyReport, ModelIdentity
from mlflow_onnx_flavor.schemas.records import (
    CANDIDATES,
    LATENCY,
    CandidatesRecord,
    SourceRecord,
)
from mlflow_onnx_flavor.source.environment import interpreter


def check_latency(
    optimize_run_id: str,
    configuration: Configuration,
    *,
    champion_uri: str | None = None,
    parent_run_id: str | None = None,
    context: ReleaseContext | None = None,
) -> tuple[str, LatencyReport]:
    """Measure the latency of all candidates of run ``optimize_run_id``; return (run id, report).

    ``champion_uri``: the model that serves now; it is measured side by side where it is given.
    ``context``: the context of the earlier steps, where they ran in this process.
    """
    import mlflow

    context = context or ReleaseContext(configuration)
    built = context.record(optimize_run_id, CANDIDATES, CandidatesRecord)
    record = context.source_record(built.source_run_id)
    champion = champion_folder(champion_uri, built)
    key = _key(optimize_run_id, record, champion, configuration)
    found = finished("check_latency", key, configuration, _read)
    # The same evidence serves a stricter gate, unless the gate needs more measurements.
    if found and not is_undecided(found[1], configuration.gates.latency):
        return found
    source = context.source(record)
    evaluation, example = context.rows(record)
    extra = frameworks.get(source.framework).extra
    source_python = interpreter(source.folder, extra, configuration.source_env)
    with step_run("check_latency", parent_run_id, key) as run:
        mlflow.log_params({"optimize_run_id": optimize_run_id})
        report = latency.measure(
            latency.Plan(
                source.folder,
                source.framework,
                candidate_folders(built.candidates),
                evaluation or example,
                list(required_providers(configuration)),
                batch_sizes=configuration.gates.latency.batch_sizes,
                confidence=configuration.gates.latency.confidence,
                budget_seconds=configuration.budget.seconds,
                source_identity=source.identity,
                options=configuration.latency,
                precision=Precision.for_gate(configuration.gates.latency),
                champion=champion,
                spares=context.spares,
                source_python=source_python,
                on_progress=context.on_progress,
            )
        )
        log_record(report, LATENCY)
        return run.info.run_id, report


def _key(
    optimize_run_id: str,
    record: SourceRecord,
    champion: CandidateFolder | None,
    configuration: Configuration,
) -> str:
    return step_key(
        "check_latency",
        optimize_run_id=optimize_run_id,
        providers=[each.model_dump() for each in required_providers(configuration)],
        champion=champion and champion.identity.digest,
        batch_sizes=configuration.gates.latency.batch_sizes,
        confidence=configuration.gates.latency.confidence,
        options=configuration.latency.model_dump(),
        budget_seconds=configuration.budget.seconds,
        source_env=configuration.source_env,
        framework=versions_of(record.framework),
        hardware=hardware(),
    )


def _read(run_id: str) -> tuple[str, LatencyReport]:
    return run_id, read_record(run_id, LATENCY, LatencyReport)


def champion_folder(uri: str | None, built: CandidatesRecord) -> CandidateFolder | None:
    """Return the folder of the model at ``uri``, which serves now, or None.

    Return None where ``uri`` is empty, and where a candidate has the same graph and configuration,
    since the model would be timed against itself.
    """
    if not uri:
        return None
    folder = model_folder(uri)
    mine = identity_of(folder)
    if any(identity_of(model_folder(each.model_uri)) == mine for each in built.candidates):
        return None
    identity = ModelIdentity(
        name="champion", uri=uri, digest=digest_of(folder), size_bytes=size_of(folder)
    )
    return CandidateFolder(identity, folder)
