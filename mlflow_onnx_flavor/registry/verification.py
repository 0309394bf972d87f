"""Verify that a URI names the verified artifact, and that a trusted signer signed it."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

from mlflow_onnx_flavor.errors import ModelNotFoundError
from mlflow_onnx_flavor.registry.client import get_version
from mlflow_onnx_flavor.registry.evidence import check_evidence
from mlflow_onnx_flavor.registry.signatures import check_signature
from mlflow_onnx_flavor.schemas.configuration import Trust
from mlflow_onnx_flavor.schemas.registry_tags import DIGEST_TAG, EVIDENCE_DIGEST_TAG
from mlflow_onnx_flavor.source.model import resolve_alias
from mlflow_onnx_flavor.tracking.server import check_server


class Verification(BaseModel):
    """A registered version whose bytes are those that its passing evidence is about."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    version: str
    digest: str
    chosen: str
    evidence_known: bool = False  # a digest from registration proves the evidence unchanged
    signed: bool = False  # by a trusted signer; False where no signature was demanded


def verify(model_uri: str, trust: Trust | None = None) -> Verification:
    """Check that ``model_uri`` (``models:/NAME/VERSION`` or ``@ALIAS``) is what was verified.

    ``trust``: the signers of whom one must have signed it, too.

    Raises PromotionRefusedError, DigestMismatchError or SignatureError where a check fails.
    """
    check_server()
    name, _, version = resolve_alias(model_uri).removeprefix("models:/").rpartition("/")
    if not model_uri.startswith("models:/") or not name:
        raise ModelNotFoundError(
            f"{model_uri!r} is no registered version; give models:/NAME/VERSION or"
            " models:/NAME@ALIAS"
        )
    found = get_version(name, version)
    verdict = check_evidence(found)
    if trust is not None:
        check_signature(found, trust)
    return Verification(
        name=name,
        version=version,
        digest=found.tags[DIGEST_TAG],
        chosen=verdict.chosen or "",
        evidence_known=EVIDENCE_DIGEST_TAG in found.tags,
        signed=trust is not None,
    )
