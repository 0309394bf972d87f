"""Create versions of a registered model: one for each release, and only with the verified bytes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mlflow_onnx_flavor.artifact.digests import check_digest
from mlflow_onnx_flavor.registry.client import get_version, registry_errors, versions_of
from mlflow_onnx_flavor.registry.evidence import evidence_digest_of
from mlflow_onnx_flavor.schemas.registry_tags import (
    DIGEST_TAG,
    EVIDENCE_DIGEST_TAG,
    EVIDENCE_TAG,
    KEY_TAG,
)
from mlflow_onnx_flavor.source.model import check_artifact, fetch
from mlflow_onnx_flavor.tracking.retrying import breaks_off, is_conflict, retried

CREATE_TRIES = 4  # other releases may register versions of the same model at the same moment


def register(
    name: str,
    model_uri: str,
    digest: str,
    evidence_run_id: str,
    tags: Mapping[str, str],
    description: str,
    key: str,
    manifest: Mapping[str, Any] | None = None,
    evidence_digest: str | None = None,
) -> str:
    """Create a version of ``name`` from the logged model; return the version.

    ``key``: the key of the release.  A version that carries it already is returned instead of a new
    one: this release may have ended after creating it, or a concurrent release did the same.
    ``digest`` and ``manifest``: those of the verified artifact, checked again on the bytes that the
    registry returns.  ``evidence_digest``: the digest of the evidence, kept with the version and
    checked wherever the verdict counts; None computes it from what the run holds now, and "" means
    that it is unknown, for a copy of a version that predates such digests.

    Raises DigestMismatchError or RegistryError; a version that was begun is then removed.
    """
    if evidence_digest is None:
        evidence_digest = evidence_digest_of(evidence_run_id)
    own_tags = {DIGEST_TAG: digest, EVIDENCE_TAG: evidence_run_id, KEY_TAG: key}
    if evidence_digest:
        own_tags[EVIDENCE_DIGEST_TAG] = evidence_digest
    with registry_errors(f"registering {name!r}"):
        there = with_key(name, key)
        if there is not None:
            _check_there(name, there, digest, manifest)
            return there
        created_model = _ensure_registered_model(name)
        try:
            version = _create(
                name,
                model_uri,
                {**tags, **own_tags},
                description,
            )
            try:
                _check(name, version, digest, manifest)
            except BaseException:
                _delete(name, version)
                raise
        except BaseException:
            if created_model:
                _delete_if_empty(name)
            raise
        first = with_key(name, key) or version
        if first != version:  # of two concurrent releases, the first version stays
            _delete(name, version)
        return first


def _create(
    name: str, model_uri: str, tags: Mapping[str, str], description: str, tries: int = CREATE_TRIES
) -> str:
    """Create the version; return it also where the registry made it and its response was lost."""
    from mlflow import MlflowClient
    from mlflow.exceptions import MlflowException

    try:
        created = MlflowClient().create_model_version(
            name,
            source=model_uri,
            model_id=_model_id(model_uri),
            tags=dict(tags),
            description=description,
        )
    except MlflowException as error:
        made = retried(lambda: with_key(name, tags[KEY_TAG]))
        if made is None and tries > 1 and (breaks_off(error) or is_conflict(error)):
            return _create(name, model_uri, tags, description, tries - 1)
        if made is None:
            raise
        return made
    return str(created.version)


def with_key(name: str, key: str) -> str | None:
    """Return the first version of the model that a release with this key made; None without one."""
    from mlflow.exceptions import MlflowException

    try:
        found = [each.version for each in versions_of(name) if each.tags.get(KEY_TAG) == key]
    except MlflowException as error:
        if error.error_code == "RESOURCE_DOES_NOT_EXIST":
            return None
        raise
    return str(min(found, key=int)) if found else None


def _check(name: str, version: str, digest: str, manifest: Mapping[str, Any] | None) -> None:
    uri = f"models:/{name}/{version}"
    folder = fetch(uri)
    check_digest(folder, digest, uri, manifest)
    check_artifact(folder, uri)


def _check_there(name: str, version: str, digest: str, manifest: Mapping[str, Any] | None) -> None:
    """Check a version that existed before, against the digest that its own release recorded.

    The same model may have been logged twice, so its bytes may differ from those of this release.
    """
    recorded = get_version(name, version).tags[DIGEST_TAG]
    _check(name, version, recorded, manifest if recorded == digest else None)


def _delete(name: str, version: str) -> None:
    from mlflow import MlflowClient

    MlflowClient().delete_model_version(name, version)


def _delete_if_empty(name: str) -> None:
    """Delete a registered model that has no version, since creating its first version failed."""
    from mlflow import MlflowClient

    if next(versions_of(name), None) is None:
        MlflowClient().delete_registered_model(name)


def _ensure_registered_model(name: str) -> bool:
    """Create the registered model unless it exists; return whether it was created."""
    from mlflow import MlflowClient
    from mlflow.exceptions import MlflowException

    try:
        MlflowClient().create_registered_model(name)
        return True
    except MlflowException as error:
        if error.error_code == "RESOURCE_ALREADY_EXISTS":
            return False
        raise


def _model_id(model_uri: str) -> str | None:
    tail = model_uri.removeprefix("models:/")
    return tail if tail.startswith("m-") and "/" not in tail else None
