"""Signatures of registered versions and their evidence, stored beside the evidence."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from mlflow_onnx_flavor.artifact import signing
from mlflow_onnx_flavor.machine.scratch import temporary_folder
from mlflow_onnx_flavor.registry.client import get_version, registry_errors
from mlflow_onnx_flavor.registry.evidence import check_evidence, fetch_evidence
from mlflow_onnx_flavor.schemas.configuration import SigningKey, Trust
from mlflow_onnx_flavor.schemas.registry_tags import EVIDENCE_TAG, SIGNED_TAG
from mlflow_onnx_flavor.source.model import fetch
from mlflow_onnx_flavor.tracking.downloads import download
from mlflow_onnx_flavor.tracking.server import check_server

if TYPE_CHECKING:
    from mlflow.entities.model_registry import ModelVersion

FOLDER = "signatures"  # artifact folder in the run that holds the evidence


def sign_version(name: str, version: str, key: SigningKey) -> None:
    """Sign a version with passing evidence, and the evidence; replace an earlier signature.

    Raises what `check_evidence` and `signing.sign` raise.
    """
    from mlflow import MlflowClient

    check_server()
    found = get_version(name, version)
    check_evidence(found)
    run_id = found.tags[EVIDENCE_TAG]
    with _folders(found) as (artifact, evidence, scratch):
        signing.sign(artifact, evidence, scratch / FOLDER, key)
        with registry_errors(f"signing {name!r} version {version}"):
            client = MlflowClient()
            client.log_artifacts(run_id, str(scratch / FOLDER), FOLDER)
            client.set_model_version_tag(name, version, SIGNED_TAG, "yes")


def check_signature(version: ModelVersion, trust: Trust) -> None:
    """Raise SignatureError unless a trusted signer signed the version and its evidence."""
    what = f"{version.name!r} version {version.version}"
    with _folders(version) as (artifact, evidence, scratch):
        signatures = _signatures(version.tags[EVIDENCE_TAG], scratch)
        signing.verify(artifact, evidence, signatures, trust, what)


def _signatures(run_id: str, scratch: Path) -> Path:
    """Return the folder of the signatures, or a path that does not exist where there are none."""
    from mlflow import MlflowClient

    if any(each.path == FOLDER for each in MlflowClient().list_artifacts(run_id)):
        return download(f"runs:/{run_id}/{FOLDER}")
    return scratch / "none"


@contextmanager
def _folders(version: ModelVersion) -> Iterator[tuple[Path, Path, Path]]:
    """Yield the artifact, its evidence, and a folder to write to."""
    run_id = version.tags[EVIDENCE_TAG]
    artifact = fetch(f"models:/{version.name}/{version.version}")
    with temporary_folder("signing") as scratch:
        evidence = fetch_evidence(run_id, Path(scratch) / "evidence")
        yield artifact, evidence, Path(scratch)
