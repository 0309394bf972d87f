"""Create a version of a registered model: once for a release, and never of other bytes."""

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

CREATE_TRIES = 4  # where others register versions of the same model at the same moment


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
    """Create a version of ``name`` from the logged model; returns the version.

    ``key``: that of the release.  A version that carries it already, since this release was ended
    after it was created, or another did the same meanwhile, is the one that is returned.
    ``digest`` and ``manifest``: of the verified artifact, checked again on what the registry hands
    out.  ``evidence_digest``: of the evidence, kept with the version and checked wherever the
    verdict counts; None: of what the run holds now; "": not known, as of a copy of a version that
    is older than such digests.
    Raises DigestMismatchError or RegistryError; what was begun is then taken back.
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
        if first != version:  # two releases at once: the one that came first stays
            _delete(name, version)
        return first


def _create(
    name: str, model_uri: str, tags: Mapping[str, str], description: str, tries: int = CREATE_TRIES
) -> str:
    """The version; also where the registry made it and its answer was lost."""
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
    """The first version of the model that a release of this key made."""
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
    """Check the version that was there: the same model may have been logged twice, and the bytes
    of the version are then those that *its* release verified.
    """
    recorded = get_version(name, version).tags[DIGEST_TAG]
    _check(name, version, recorded, manifest if recorded == digest else None)


def _delete(name: str, version: str) -> None:
    from mlflow import MlflowClient

    MlflowClient().delete_model_version(name, version)


def _delete_if_empty(name: str) -> None:
    """Take back a registered model that was made for a version that is none."""
    from mlflow import MlflowClient

    if next(versions_of(name), None) is None:
        MlflowClient().delete_registered_model(name)


def _ensure_registered_model(name: str) -> bool:
    """Create the registered model unless it exists; says whether it was created."""
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
