"""Sign and verify artifacts and their evidence with OpenSSF's model-signing.

Two signatures lie in the run with the evidence.  One covers the artifact's files; ``python -m
model_signing verify`` reads it too.  The other covers the evidence, the verdict and the manifest of
the artifact.  The manifest ties the two together: a file that was added to the artifact is not
covered by the first signature, but it is missing in the manifest.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mlflow_onnx_flavor.errors import (
    ConfigurationError,
    MissingFrameworkError,
    SignatureError,
    one_line,
)
from mlflow_onnx_flavor.schemas.configuration import SigningKey, Trust

MODEL_SIGNATURE, EVIDENCE_SIGNATURE = "model.sig", "evidence.sig"
PASSWORD_VARIABLE = "MLFLOW_ONNX_SIGNING_PASSWORD"  # for an encrypted private key
# How model-signing reports files that differ from those that were signed.
_MISMATCH = "Signature mismatch"
_CHANGES = re.compile(
    r"((?:Extra|Missing) files) (?:found )?in model '[^']*'(: [^\"\]]+)"
    r"|(Hash mismatch for '[^']+')"
)
# MLflow writes this beside a model when it is fetched from the registry.
_NOT_THE_MODEL = "registered_model_meta"


def sign(artifact: Path, evidence: Path, out: Path, key: SigningKey) -> None:
    """Write the signatures of both folders to the folder ``out``.

    Raises ConfigurationError where the key cannot be read or used, MissingFrameworkError without
    the extra ``signing``.
    """
    out.mkdir(parents=True, exist_ok=True)
    for folder, name in ((artifact, MODEL_SIGNATURE), (evidence, EVIDENCE_SIGNATURE)):
        try:
            config = _signing_config(key, folder)
            config.sign(folder, out / name)
        except (OSError, ValueError, TypeError) as error:
            raise ConfigurationError(
                f"nothing can be signed with the private key {key.private_key!r}: {one_line(error)}"
            ) from error


def verify(artifact: Path, evidence: Path, signatures: Path, trust: Trust, what: str) -> None:
    """Raise SignatureError unless a trusted key signed the artifact and the evidence as they are.

    The message tells apart: unsigned, signed by a key that is not trusted, altered after signing.
    """
    for folder, name in ((evidence, EVIDENCE_SIGNATURE), (artifact, MODEL_SIGNATURE)):
        signature = signatures / name
        if not signature.is_file():
            raise SignatureError(
                f"{what} carries no signature; whoever vouches for it signs it with: mlflow-onnx"
                " sign NAME VERSION --private-key FILE"
            )
        _quietly(_verify_one, folder, signature, trust, what)


def _verify_one(folder: Path, signature: Path, trust: Trust, what: str) -> None:
    try:
        config = _verifying_config(trust)
    except (OSError, ValueError) as error:
        raise ConfigurationError(f"what is trusted cannot be read: {one_line(error)}") from error
    try:
        config.verify(folder, signature)
    except Exception as error:  # each of its verifiers has errors of its own
        text = one_line(error)
        if text.startswith(_MISMATCH):
            files = "; ".join("".join(found) for found in _CHANGES.findall(text)) or text
            raise SignatureError(f"{what} was altered after it was signed: {files}") from error
        raise SignatureError(
            f"{what} is signed, but not by whom is trusted here ({text or type(error).__name__})"
        ) from error


def _signing_config(key: SigningKey, folder: Path) -> Any:
    signing, _, hashing = _library()
    config = signing.Config().set_hashing_config(
        hashing.Config().set_ignored_paths(paths=[folder / _NOT_THE_MODEL], ignore_git_paths=False)
    )
    if key.certificate:
        return config.use_certificate_signer(
            private_key=key.private_key,
            signing_certificate=key.certificate,
            certificate_chain=key.certificate_chain or (key.certificate,),  # at least one is needed
        )
    password = os.environ.get(PASSWORD_VARIABLE)
    return config.use_elliptic_key_signer(private_key=key.private_key, password=password)


def _verifying_config(trust: Trust) -> Any:
    _, verifying, _ = _library()
    if trust.public_key:
        return verifying.Config().use_elliptic_key_verifier(public_key=Path(trust.public_key))
    if trust.certificate_chain:
        return verifying.Config().use_certificate_verifier(
            certificate_chain=trust.certificate_chain, log_fingerprints=False
        )
    if trust.identity and trust.oidc_issuer:
        return verifying.Config().use_sigstore_verifier(
            identity=trust.identity, oidc_issuer=trust.oidc_issuer
        )
    raise ConfigurationError(
        "a signature is asked for, but nothing says whose: give trust.public_key,"
        " trust.certificate_chain, or trust.identity and trust.oidc_issuer"
    )


def _library() -> tuple[Any, Any, Any]:
    try:
        from model_signing import hashing, signing, verifying
    except ImportError as error:
        raise MissingFrameworkError(
            "signatures need the package model-signing; install it with: pip install"
            " 'mlflow-onnx-flavor[signing]'"
        ) from error
    return signing, verifying, hashing


def _quietly(work: Callable[..., None], *arguments: Any) -> None:
    """Run ``work`` with standard output discarded.

    The library prints remarks there, and standard output is reserved for the command's answer.
    """
    from contextlib import redirect_stdout
    from io import StringIO

    with redirect_stdout(StringIO()):
        work(*arguments)
