"""Whether a version holds what was verified, and whether its evidence passes."""

from __future__ import annotations

import json
import shutil
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
from mlflow_onnx_flavor.schemas.registry_tags import DIGEST_TAG, EVIDENCE_TAG
from mlflow_onnx_flavor.schemas.verdict import ReleaseEvidence, Verdict
from mlflow_onnx_flavor.source.model import fetch
from mlflow_onnx_flavor.tracking.downloads import download
from mlflow_onnx_flavor.tracking.server import refusal_of

if TYPE_CHECKING:
    from mlflow.entities.model_registry import ModelVersion

EVIDENCE_FILE, VERDICT_FILE, MANIFEST_FILE = "evidence.json", "verdict.json", "manifest.json"


def check_evidence(version: ModelVersion) -> Verdict:
    """The verdict on ``version``, judged again from its evidence, for the bytes that it holds.

    Raises PromotionRefusedError without passing evidence, DigestMismatchError for other bytes.
    """
    what = f"{version.name!r} version {version.version}"
    digest, run_id = version.tags.get(DIGEST_TAG), version.tags.get(EVIDENCE_TAG)
    if not digest or not run_id:
        raise PromotionRefusedError(
            f"{what} was not registered by a release, so there is no evidence for it; release its"
            " source model with: mlflow-onnx release MODEL_URI --registered-model NAME"
        )
    evidence, recorded = _evidence(run_id, what)
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
    check_digest(folder, digest, what, _manifest(run_id))
    return verdict


def _evidence(run_id: str, what: str) -> tuple[ReleaseEvidence, Verdict]:
    import mlflow
    from mlflow.exceptions import MlflowException

    try:
        texts = [
            mlflow.artifacts.load_text(f"runs:/{run_id}/{name}")
            for name in (EVIDENCE_FILE, VERDICT_FILE)
        ]
        return ReleaseEvidence.model_validate_json(texts[0]), Verdict.model_validate_json(texts[1])
    except (MlflowException, OSError, ValueError) as error:
        reason = error.errors()[0]["msg"] if isinstance(error, ValidationError) else one_line(error)
        raise refusal_of(error) or PromotionRefusedError(
            f"the evidence for {what} cannot be read from run {run_id} ({reason}); release the"
            " model again"
        ) from error


def _manifest(run_id: str) -> dict[str, Any] | None:
    """Of the verified artifact; None in evidence that is older than manifests."""
    import mlflow
    from mlflow.exceptions import MlflowException

    try:
        return json.loads(mlflow.artifacts.load_text(f"runs:/{run_id}/{MANIFEST_FILE}"))
    except (MlflowException, OSError, ValueError):
        return None


def fetch_evidence(run_id: str, folder: Path, *more: str) -> Path:
    """What `check_evidence` reads of a run, in the new ``folder``; and ``more``, what there is."""
    from mlflow import MlflowClient

    folder.mkdir()
    there = {each.path for each in MlflowClient().list_artifacts(run_id)}
    for name in {EVIDENCE_FILE, VERDICT_FILE, MANIFEST_FILE, *more} & there:
        path = download(f"runs:/{run_id}/{name}")
        copy = shutil.copytree if path.is_dir() else shutil.copyfile
        copy(path, folder / name)
    return folder
