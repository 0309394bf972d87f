"""Copy a version to another registered model or another server, with its evidence.

The version is checked before it is copied and after it arrived: the same bytes, with evidence that
passes.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from mlflow_onnx_flavor.machine.scratch import temporary_folder
from mlflow_onnx_flavor.redaction import redact
from mlflow_onnx_flavor.registry.client import get_version, registry_errors
from mlflow_onnx_flavor.registry.evidence import check_evidence, fetch_evidence
from mlflow_onnx_flavor.registry.signatures import FOLDER as SIGNATURES
from mlflow_onnx_flavor.registry.versions import register, with_key
from mlflow_onnx_flavor.schemas.registry_tags import (
    COPIED_TAG,
    DIGEST_TAG,
    EVIDENCE_DIGEST_TAG,
    EVIDENCE_TAG,
    KEY_TAG,
)
from mlflow_onnx_flavor.source.model import fetch
from mlflow_onnx_flavor.tracking.server import check_server

DEFAULT_EXPERIMENT = "0"  # exists on every server
REGISTRY_VARIABLE = "MLFLOW_REGISTRY_URI"
_OWN_TAGS = (DIGEST_TAG, EVIDENCE_DIGEST_TAG, EVIDENCE_TAG, KEY_TAG)


def copy(name: str, version: str, *, to_name: str = "", to_uri: str = "") -> str:
    """Copy version ``version`` of ``name``; return the version that the copy has there.

    ``to_name``: the name there, the same where empty.  ``to_uri``: the tracking URI of the other
    server, this server where empty.  A second copy returns the version of the first.  No alias
    moves.

    Raises what `check_evidence` and `register` raise; a copy that was begun is then removed.
    """
    import mlflow

    check_server()
    found = get_version(name, str(version))
    check_evidence(found)
    came_from = redact(f"{mlflow.get_tracking_uri()} models:/{name}/{version}")
    artifact = fetch(f"models:/{name}/{version}")
    there = to_name or name
    key = found.tags.get(KEY_TAG) or found.tags[DIGEST_TAG]
    with temporary_folder("copy") as scratch:
        folder = Path(scratch) / "evidence"
        evidence = fetch_evidence(found.tags[EVIDENCE_TAG], folder, SIGNATURES)
        with _at(to_uri or mlflow.get_tracking_uri()):
            check_server()
            with registry_errors(f"copying {name!r} version {version}"):
                copied = with_key(there, key)
                if copied is None:
                    run_id, model_uri = _upload(artifact, evidence, came_from)
            if copied is None:
                copied = register(
                    there,
                    model_uri,
                    found.tags[DIGEST_TAG],
                    run_id,
                    _tags(found.tags) | {COPIED_TAG: came_from},
                    found.description or "",
                    key,
                    evidence_digest=found.tags.get(EVIDENCE_DIGEST_TAG, ""),
                )
            check_evidence(get_version(there, copied))
    return copied


def _tags(tags: Mapping[str, str]) -> dict[str, str]:
    return {name: each for name, each in tags.items() if name not in _OWN_TAGS}


def _upload(artifact: Path, evidence: Path, came_from: str) -> tuple[str, str]:
    """Log artifact and evidence at the current server; return the run and the URI of the model."""
    from mlflow import MlflowClient

    client = MlflowClient()
    run_id = client.create_run(DEFAULT_EXPERIMENT, run_name="copy").info.run_id
    client.set_tag(run_id, COPIED_TAG, came_from)
    client.log_artifacts(run_id, str(evidence))
    logged = client.create_logged_model(DEFAULT_EXPERIMENT, name="copied", source_run_id=run_id)
    client.log_model_artifacts(logged.model_id, str(artifact))
    client.finalize_logged_model(logged.model_id, "READY")
    client.set_terminated(run_id)
    return run_id, f"models:/{logged.model_id}"


@contextmanager
def _at(uri: str) -> Iterator[None]:
    """Let MLflow use the tracking server and registry at ``uri`` within the block."""
    import mlflow

    tracking, registry = mlflow.get_tracking_uri(), mlflow.get_registry_uri()
    for_children = os.environ.get(REGISTRY_VARIABLE)
    mlflow.set_tracking_uri(uri)
    mlflow.set_registry_uri(uri)
    try:
        yield
    finally:
        mlflow.set_tracking_uri(tracking)
        mlflow.set_registry_uri("" if registry == tracking else registry)
        # MLflow sets the variable for child processes and does not remove it.
        os.environ.pop(REGISTRY_VARIABLE, None)
        if for_children is not None:
            os.environ[REGISTRY_VARIABLE] = for_children
