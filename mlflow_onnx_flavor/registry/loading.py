"""Load a model as MLflow does, but only if its bytes are the expected ones."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlflow_onnx_flavor.artifact.digests import check_digest
from mlflow_onnx_flavor.configuration_file import parse_configuration
from mlflow_onnx_flavor.errors import ConfigurationError, CorruptModelError, DigestMismatchError
from mlflow_onnx_flavor.registry.evidence import manifest_of_version
from mlflow_onnx_flavor.registry.verification import Verification, verify
from mlflow_onnx_flavor.schemas.configuration import Trust
from mlflow_onnx_flavor.scoring.integrity import ForeignEntryError, check_entries
from mlflow_onnx_flavor.source.model import check_artifact, fetch, resolve_alias
from mlflow_onnx_flavor.tracking.downloads import own_copy

if TYPE_CHECKING:
    from mlflow.pyfunc import PyFuncModel


def load_pyfunc(
    model_uri: str,
    trust: Trust | Mapping[str, Any] | None = None,
    digest: str | None = None,
    model_config: Mapping[str, Any] | None = None,
) -> PyFuncModel:
    """Return MLflow's PyFuncModel, after checking its bytes before any code among them runs.

    `mlflow.pyfunc.load_model` imports the artifact's code first, and so trusts whoever can write to
    the artifact store.  This function checks a copy that nobody else writes to, and loads that
    copy.

    ``trust``: the same as for `load_session`.  ``digest``: the digest that the artifact must have
    ("sha256:...").  Without both, ``model_uri`` must name a registered version, which is checked
    against the digest that it was registered with.  ``model_config``: the same as for
    `mlflow.pyfunc.load_model`.

    Raises what `registry.verify` raises, DigestMismatchError, which names the changed file where
    the manifest of the artifact is known, CorruptModelError, and ConfigurationError where nothing
    says which bytes are expected.
    """
    import mlflow.pyfunc

    uri, manifest = os.fspath(model_uri), None
    if _is_version(uri):
        uri, digest, manifest = _expected_of_version(uri, trust, digest)
    elif trust:
        digest = verified_under(uri, trust).digest  # raises: no registered version
    if not digest:
        raise ConfigurationError(
            f"nothing says which bytes {uri!r} must have; give its digest, or the URI of a"
            " registered version (models:/NAME/VERSION)"
        )
    with own_copy(_fetched(uri)) as folder:
        check_digest(folder, digest, repr(uri), manifest)
        check_artifact(folder, uri)
        config = dict(model_config or {}) or None
        model: PyFuncModel = mlflow.pyfunc.load_model(str(folder), model_config=config)
        return model


def _is_version(uri: str) -> bool:
    """Return whether the URI names a version of a registered model, and not a logged model."""
    name, slash, version = uri.removeprefix("models:/").rpartition("/")
    named = bool(name and slash and version) or "@" in version
    return uri.startswith("models:/") and named


def _expected_of_version(
    uri: str, trust: Trust | Mapping[str, Any] | None, digest: str | None
) -> tuple[str, str | None, Mapping[str, Any] | None]:
    """Return the version's own URI, its expected digest, and the manifest with that digest."""
    uri = resolve_alias(uri)
    if trust or not digest:
        verified = verified_under(uri, trust)
        if digest and digest != verified.digest:
            raise DigestMismatchError(
                f"{uri!r} has the digest {verified.digest} where {digest} was asked for"
            )
        digest = verified.digest
    name, _, version = uri.removeprefix("models:/").rpartition("/")
    return uri, digest, manifest_of_version(name, version, digest)


def _fetched(uri: str) -> Path:
    folder = fetch(uri)
    if not folder.is_dir():
        raise CorruptModelError(
            f"{uri!r} is a bare file, which MLflow loads no pyfunc from; open it with load_session"
        )
    try:
        check_entries(folder)
    except ForeignEntryError as error:
        raise CorruptModelError(f"{uri!r} is no model to open: {error}") from error
    return folder


def verified_under(model_uri: str, trust: Trust | Mapping[str, Any] | None) -> Verification:
    """Return what `verify` returns, with ``trust`` in any form that `load_session` accepts."""
    if isinstance(trust, Mapping):
        trust = parse_configuration({"trust": dict(trust)}).trust
    return verify(model_uri, trust)
