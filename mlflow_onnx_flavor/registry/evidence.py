"""Checks that a version holds the verified bytes, and that its evidence passes."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from mlflow_onnx_flavor.artifact.digests import check_digest
from mlflow_onnx_flavor.errors import (
    DigestMismatchError,
    PromotionRefusedError,
    one_line,
)
from mlflow_onnx_flavor.gates import judge
from mlflow_onnx_flavor.registry.client import get_version
from mlflow_onnx_flavor.schemas.records import EVIDENCE, MANIFEST, VERDICT
from mlflow_onnx_flavor.schemas.registry_tags import DIGEST_TAG, EVIDENCE_DIGEST_TAG, EVIDENCE_TAG
from mlflow_onnx_flavor.schemas.verdict import ReleaseEvidence, Verdict
from mlflow_onnx_flavor.scoring.documents import parse_json
from mlflow_onnx_flavor.scoring.integrity import digest_of_manifest
from mlflow_onnx_flavor.source.model import check_artifact, fetch
from mlflow_onnx_flavor.tracking.downloads import download
from mlflow_onnx_flavor.tracking.server import refusal_of

if TYPE_CHECKING:
    from mlflow.entities.model_registry import ModelVersion

_DOCUMENTS = (EVIDENCE, VERDICT, MANIFEST)


def check_evidence(version: ModelVersion) -> Verdict:
    """Return the verdict on ``version``, judged again from its evidence, and check its bytes.

    Raises PromotionRefusedError without passing evidence, and DigestMismatchError for other bytes
    or for evidence that differs from what was registered.  A version that was registered before
    evidence had a digest cannot show that its evidence is unchanged: see
    `Verification.evidence_known`.
    """
    what = f"{version.name!r} version {version.version}"
    digest, run_id = version.tags.get(DIGEST_TAG), version.tags.get(EVIDENCE_TAG)
    if not digest or not run_id:
        raise PromotionRefusedError(
            f"{what} was not registered by a release, so there is no evidence for it; release its"
            " source model with: mlflow-onnx release MODEL_URI --registered-model NAME"
        )
    documents = _documents(run_id, what)
    _check_documents(documents, version.tags.get(EVIDENCE_DIGEST_TAG), what)
    evidence, recorded = _evidence(documents, run_id, what)
    verdict = judge(evidence, recorded.gates)
    if not verdict.passed:
        failed = verdict.failures()[0]
        raise PromotionRefusedError(
            f"{what} does not pass its gates: {failed.gate} of {failed.candidate} is"
            f" {failed.measured}, required is {failed.required}"
        )
    chosen = next(each for each in evidence.parity.candidates if each.name == verdict.chosen)
    if chosen.digest != digest:
        raise DigestMismatchError(
            f"{what} carries the digest {digest} where its evidence is about {chosen.digest};"
            " release the model again"
        )
    folder = fetch(f"models:/{version.name}/{version.version}")
    check_digest(folder, digest, what, _manifest(documents, digest))
    check_artifact(folder, what)
    return verdict


def evidence_digest_of(run_id: str) -> str:
    """Return the digest of the evidence that `check_evidence` reads of a run.

    Return "" where the run has no evidence.
    """
    from mlflow.exceptions import MlflowException

    try:
        return _digest(_loaded(run_id))
    except (MlflowException, OSError, ValueError) as error:
        if refused := refusal_of(error):
            raise refused from error
        return ""


def manifest_of_version(name: str, version: str, digest: str) -> Mapping[str, Any] | None:
    """Return the manifest with this digest from the evidence of the version; None without one."""
    from mlflow.exceptions import MlflowException

    run_id = get_version(name, version).tags.get(EVIDENCE_TAG)
    if not run_id:
        return None
    try:
        return _manifest(_loaded(run_id), digest)
    except (MlflowException, OSError, ValueError) as error:
        if refused := refusal_of(error):
            raise refused from error
        return None


def _documents(run_id: str, what: str) -> dict[str, str]:
    """Return the texts that a verdict is made from, by name."""
    from mlflow.exceptions import MlflowException

    try:
        return _loaded(run_id)
    except (MlflowException, OSError, ValueError) as error:
        raise refusal_of(error) or _unreadable(what, run_id, one_line(error)) from error


def _loaded(run_id: str) -> dict[str, str]:
    """Return the texts of the evidence by name; evidence that predates manifests has none."""
    import mlflow
    from mlflow.exceptions import MlflowException

    texts = {}
    for name in _DOCUMENTS:
        try:
            texts[name] = mlflow.artifacts.load_text(f"runs:/{run_id}/{name}")
        except (MlflowException, OSError) as error:
            if name != MANIFEST or refusal_of(error):
                raise
    return texts


def _digest(documents: Mapping[str, str]) -> str:
    contents = {name: text.encode() for name, text in documents.items()}
    return digest_of_manifest(
        {
            name: (hashlib.sha256(content).hexdigest(), len(content))
            for name, content in contents.items()
        }
    )


def _check_documents(documents: Mapping[str, str], expected: str | None, what: str) -> None:
    found = _digest(documents)
    if expected and found != expected:
        raise DigestMismatchError(
            f"the evidence of {what} is not what it was registered with: {', '.join(documents)}"
            f" have the digest {found} where {expected} was recorded; release the model again"
        )


def _evidence(
    documents: Mapping[str, str], run_id: str, what: str
) -> tuple[ReleaseEvidence, Verdict]:
    try:
        evidence = ReleaseEvidence.model_validate_json(documents[EVIDENCE])
        return evidence, Verdict.model_validate_json(documents[VERDICT])
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        reason = f"{where}: {first['msg']}" if where else first["msg"]
        raise _unreadable(what, run_id, reason) from error


def _unreadable(what: str, run_id: str, reason: str) -> PromotionRefusedError:
    return PromotionRefusedError(
        f"the evidence for {what} cannot be read from run {run_id} ({reason}); release the"
        " model again"
    )


def _manifest(documents: Mapping[str, str], digest: str) -> Mapping[str, Any] | None:
    """Return the manifest of the verified artifact; None where none has this digest."""
    try:
        manifest = parse_json(documents.get(MANIFEST, "{}"))
        entries = {str(name): (str(sha), int(size)) for name, (sha, size) in manifest.items()}
    except (ValueError, TypeError, AttributeError):
        return None
    return entries if digest_of_manifest(entries) == digest else None


def fetch_evidence(run_id: str, folder: Path, *more: str) -> Path:
    """Download the evidence of a run to the new ``folder``, with the artifacts ``more`` if present.

    The evidence is what `check_evidence` reads.
    """
    from mlflow import MlflowClient

    folder.mkdir()
    there = {each.path for each in MlflowClient().list_artifacts(run_id)}
    for name in {*_DOCUMENTS, *more} & there:
        path = download(f"runs:/{run_id}/{name}")
        copy = shutil.copytree if path.is_dir() else shutil.copyfile
        copy(path, folder / name)
    return folder
