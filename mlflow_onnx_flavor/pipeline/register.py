"""Step 6: judge the evidence and, where every gate passes, register the artifact it is about."""

from __future__ import annotations

from mlflow_onnx_flavor import registry
from mlflow_onnx_flavor.artifact.digests import manifest_of
from mlflow_onnx_flavor.artifact.identity import identity_of
from mlflow_onnx_flavor.conversion.options import required_providers
from mlflow_onnx_flavor.errors import (
    CorruptModelError,
    DigestMismatchError,
    GateFailedError,
    ModelNotFoundError,
)
from mlflow_onnx_flavor.gates import judge
from mlflow_onnx_flavor.pipeline.cache import finished, step_key
from mlflow_onnx_flavor.pipeline.downloads import model_folder
from mlflow_onnx_flavor.pipeline.runs import log_record, read_record, step_run
from mlflow_onnx_flavor.pipeline.summarize import summarize
from mlflow_onnx_flavor.reporting.model_card import describe_version, tags
from mlflow_onnx_flavor.schemas.configuration import Configuration
from mlflow_onnx_flavor.schemas.evidence import LatencyReport, ModelIdentity, ParityReport
from mlflow_onnx_flavor.schemas.records import (
    EVIDENCE,
    LATENCY,
    MANIFEST,
    PARITY,
    REGISTRATION,
    VERDICT,
    RegistrationRecord,
)
from mlflow_onnx_flavor.schemas.registry_tags import DIGEST_TAG
from mlflow_onnx_flavor.schemas.summary import ReleaseSummary
from mlflow_onnx_flavor.schemas.verdict import ReleaseEvidence, Verdict


def judge_runs(
    parity_run_id: str, latency_run_id: str, configuration: Configuration
) -> tuple[ReleaseEvidence, Verdict]:
    """Return the evidence of a parity run and a latency run, and the verdict on it.

    Raises DigestMismatchError where the runs did not measure the same artifacts.
    """
    evidence = ReleaseEvidence(
        parity=read_record(parity_run_id, PARITY, ParityReport),
        latency=read_record(latency_run_id, LATENCY, LatencyReport),
        required=required_providers(configuration),
        configuration=configuration,
    )
    of_parity = {each.name: each.digest for each in evidence.parity.candidates}
    of_latency = {each.name: each.digest for each in evidence.latency.candidates}
    if of_parity != of_latency:
        raise DigestMismatchError(
            f"runs {parity_run_id} and {latency_run_id} measured different artifacts; measure the"
            " candidates of one optimize run in both"
        )
    return evidence, judge(evidence, configuration.gates)


def register(
    parity_run_id: str,
    latency_run_id: str,
    registered_model: str,
    configuration: Configuration,
    *,
    summary: ReleaseSummary | None = None,
    parent_run_id: str | None = None,
) -> RegistrationRecord:
    """Create a version of ``registered_model`` from the chosen candidate.

    Raises GateFailedError where no candidate passes; nothing is registered then.
    """
    import mlflow

    evidence, verdict = judge_runs(parity_run_id, latency_run_id, configuration)
    key = _key(registered_model, evidence, verdict)
    if found := finished("register", key, configuration, _read):
        _sign(found, configuration)
        return found
    with step_run("register", parent_run_id, key) as run:
        log_record(evidence, EVIDENCE)
        log_record(verdict, VERDICT)
        if verdict.chosen is None:
            raise GateFailedError(why_not(verdict))
        chosen = _identity(evidence, verdict.chosen)
        manifest = manifest_of(model_folder(chosen.uri))
        mlflow.log_dict(manifest, MANIFEST)
        if summary is None:
            summary = summarize(
                parity_run_id=parity_run_id,
                latency_run_id=latency_run_id,
                verdict=verdict,
                configuration=configuration,
                registered_model=registered_model,
            )
        version = registry.register(
            registered_model,
            chosen.uri,
            chosen.digest,
            run.info.run_id,
            tags(summary),
            describe_version(summary),
            key,
            manifest,
        )
        record = RegistrationRecord(
            run_id=run.info.run_id,
            name=registered_model,
            version=version,
            model_uri=f"models:/{registered_model}/{version}",
            digest=_digest(registered_model, version),
            candidate=chosen.name,
        )
        log_record(record, REGISTRATION)
        _sign(record, configuration)
        return record


def _digest(name: str, version: str) -> str:
    """Return the digest of the version, which may have been created by another release."""
    return registry.get_version(name, version).tags[DIGEST_TAG]


def _sign(record: RegistrationRecord, configuration: Configuration) -> None:
    """Sign the version with the key of this release, before any alias moves."""
    if configuration.signing.private_key is not None:
        registry.sign_version(record.name, record.version, configuration.signing)


def _key(registered_model: str, evidence: ReleaseEvidence, verdict: Verdict) -> str:
    """Return the key of a registration.

    The same graph and configuration, judged by the same gates on the same rows, give one version.
    The model that it was timed against is no part of the key: after a promotion that is the version
    itself.
    """
    chosen = _identity(evidence, verdict.chosen) if verdict.chosen else None
    return step_key(
        "register",
        name=registered_model,
        model=chosen and identity_of(model_folder(chosen.uri)),
        source=evidence.parity.source.digest,
        inputs=evidence.parity.inputs_digest,
        gates=verdict.gates.model_dump(),
        required=[each.model_dump() for each in evidence.required],
    )


def _read(run_id: str) -> RegistrationRecord:
    record = read_record(run_id, REGISTRATION, RegistrationRecord)
    try:
        registry.get_version(record.name, record.version)
    except ModelNotFoundError as error:
        raise CorruptModelError(str(error)) from error  # deleted since, so it is registered again
    return record


def why_not(verdict: Verdict) -> str:
    """Return one sentence that names the first failed gate of each candidate."""
    firsts = {finding.candidate: finding for finding in reversed(verdict.failures())}
    reasons = "; ".join(
        f"{name}: {finding.gate} {finding.measured}, required {finding.required}"
        for name, finding in reversed(firsts.items())
    )
    return f"no candidate passes every gate ({reasons}); nothing was registered"


def _identity(evidence: ReleaseEvidence, name: str) -> ModelIdentity:
    return next(each for each in evidence.parity.candidates if each.name == name)
