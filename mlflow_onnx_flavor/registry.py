"""The registry: register, promote, rollback, history.  Aliases move last, and only to evidence.

    version = register("fraud-onnx", model_uri, digest, evidence_run_id, tags, description)
    promote("fraud-onnx", version)
    rollback("fraud-onnx")

MLflow has no transactions: `promote` sets the previous alias before the alias itself, so that a
process that dies between the two leaves the alias where it was.
"""

from __future__ import annotations

import getpass
import json
import re
from collections.abc import Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict

from mlflow_onnx_flavor.attestation import check_digest
from mlflow_onnx_flavor.errors import (
    DigestMismatchError,
    ModelNotFoundError,
    NothingToRollBackError,
    OnnxFlavorError,
    PromotionRefusedError,
    RegistryError,
)
from mlflow_onnx_flavor.gates import ReleaseEvidence, Verdict, judge
from mlflow_onnx_flavor.sources import check_server, fetch, one_line, resolve_alias

if TYPE_CHECKING:
    from mlflow.entities.model_registry import ModelVersion

DIGEST_TAG, EVIDENCE_TAG = "onnx.digest", "onnx.evidence_run_id"
HISTORY_TAG = "onnx.history."
EVIDENCE_FILE, VERDICT_FILE = "evidence.json", "verdict.json"


class Movement(BaseModel):
    """One move of an alias.  ``moved_from`` is None where the alias was new."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    action: str  # "promote" or "rollback"
    name: str
    alias: str
    moved_from: str | None
    moved_to: str
    who: str
    when: str  # ISO 8601, UTC
    why: str = ""


class Verification(BaseModel):
    """A registered version whose bytes are those that its passing evidence is about."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    version: str
    digest: str
    chosen: str


def register(
    name: str,
    model_uri: str,
    digest: str,
    evidence_run_id: str,
    tags: Mapping[str, str],
    description: str,
) -> str:
    """Create a version of ``name`` from the logged model; returns the version.

    ``digest``: that of the verified artifact, checked again on what the registry hands out.  Raises
    DigestMismatchError or RegistryError; what was begun is then taken back.
    """
    from mlflow import MlflowClient

    client = MlflowClient()
    tags = {**tags, DIGEST_TAG: digest, EVIDENCE_TAG: evidence_run_id}
    with _registry_errors(f"registering {name!r}"):
        created_model = _ensure_registered_model(name)
        try:
            version = client.create_model_version(
                name,
                source=model_uri,
                model_id=_model_id(model_uri),
                tags=tags,
                description=description,
            ).version
        except BaseException:
            if created_model:
                client.delete_registered_model(name)
            raise
        try:
            uri = f"models:/{name}/{version}"
            check_digest(fetch(uri), digest, uri)
        except BaseException:
            client.delete_model_version(name, version)
            if created_model:
                client.delete_registered_model(name)
            raise
    return str(version)


def promote(
    name: str,
    version: str,
    alias: str = "champion",
    *,
    previous_alias: str = "previous",
    why: str = "",
    dry_run: bool = False,
) -> Movement:
    """Move ``alias`` to ``version`` if its evidence passes and its bytes are the verified ones.

    The version that the alias leaves keeps ``previous_alias``.  Raises ModelNotFoundError,
    PromotionRefusedError or DigestMismatchError; the registry is then as it was.
    """
    from mlflow import MlflowClient

    check_server()
    client = MlflowClient()
    check_evidence(get_version(name, str(version)))
    current = aliased_version(name, alias)
    movement = _movement("promote", name, alias, current, str(version), why)
    if dry_run or current == str(version):
        return movement
    with _registry_errors(f"promoting {name!r} version {version}"):
        if current is not None:
            client.set_registered_model_alias(name, previous_alias, current)
        client.set_registered_model_alias(name, alias, str(version))
        _record(movement)
    return movement


def rollback(
    name: str, alias: str = "champion", *, previous_alias: str = "previous", why: str = ""
) -> Movement:
    """Put ``alias`` back on the version under ``previous_alias``, which takes the other's place.

    Raises NothingToRollBackError where there is none.
    """
    from mlflow import MlflowClient

    check_server()
    client = MlflowClient()
    current, previous = aliased_version(name, alias), aliased_version(name, previous_alias)
    if previous is None or previous == current:
        raise NothingToRollBackError(
            f"{name!r} has no version under alias {previous_alias!r} to go back to; promote the"
            " version that you want instead: mlflow-onnx promote NAME VERSION"
        )
    movement = _movement("rollback", name, alias, current, previous, why)
    with _registry_errors(f"rolling back {name!r}"):
        client.set_registered_model_alias(name, alias, previous)
        if current is not None:
            client.set_registered_model_alias(name, previous_alias, current)
        _record(movement)
    return movement


def history(name: str) -> list[Movement]:
    """Every recorded move of an alias of ``name``, the oldest first."""
    from mlflow import MlflowClient

    check_server()
    with _registry_errors(f"reading {name!r}"):
        tags = MlflowClient().get_registered_model(name).tags
    return [
        Movement.model_validate_json(tags[key])
        for key in sorted(tags)
        if key.startswith(HISTORY_TAG)
    ]


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
    check_digest(fetch(f"models:/{version.name}/{version.version}"), digest, what)
    return verdict


def verify(model_uri: str) -> Verification:
    """Check that ``model_uri`` (``models:/NAME/VERSION`` or ``@ALIAS``) is what was verified.

    Raises PromotionRefusedError or DigestMismatchError where it is not.
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
    return Verification(
        name=name, version=version, digest=found.tags[DIGEST_TAG], chosen=verdict.chosen or ""
    )


def get_version(name: str, version: str) -> ModelVersion:
    """The version; ModelNotFoundError where there is none."""
    from mlflow import MlflowClient
    from mlflow.exceptions import MlflowException

    try:
        return MlflowClient().get_model_version(name, version)
    except MlflowException as error:
        raise ModelNotFoundError(
            f"there is no version {version} of a registered model {name!r} ({one_line(error)})"
        ) from error


def aliased_version(name: str, alias: str) -> str | None:
    """The version under ``alias``, None where the model or the alias does not exist."""
    from mlflow import MlflowClient
    from mlflow.exceptions import MlflowException

    try:
        return str(MlflowClient().get_model_version_by_alias(name, alias).version)
    except MlflowException as error:
        if error.error_code in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
            return None
        raise RegistryError(
            f"the registry cannot tell alias {alias!r}: {one_line(error)}"
        ) from error


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
        raise PromotionRefusedError(
            f"the evidence for {what} cannot be read from run {run_id} ({one_line(error)});"
            " release the model again"
        ) from error


def _movement(
    action: str, name: str, alias: str, moved_from: str | None, moved_to: str, why: str
) -> Movement:
    return Movement(
        action=action,
        name=name,
        alias=alias,
        moved_from=moved_from,
        moved_to=moved_to,
        who=getpass.getuser(),
        when=datetime.now(UTC).isoformat(timespec="microseconds"),
        why=why,
    )


def _record(movement: Movement) -> None:
    from mlflow import MlflowClient

    # MLflow takes letters, digits and _ - . : / and blanks in the key of a tag.
    key = HISTORY_TAG + re.sub(r"[^\w.:-]", "_", movement.when)
    MlflowClient().set_registered_model_tag(
        movement.name, key, json.dumps(movement.model_dump(), ensure_ascii=False)
    )


def _model_id(model_uri: str) -> str | None:
    tail = model_uri.removeprefix("models:/")
    return tail if tail.startswith("m-") and "/" not in tail else None


@contextmanager
def _registry_errors(doing: str):
    """MLflow's errors as one sentence of ours."""
    from mlflow.exceptions import MlflowException

    try:
        yield
    except OnnxFlavorError:
        raise
    except MlflowException as error:
        raise RegistryError(f"{doing} failed: {one_line(error)}") from error
