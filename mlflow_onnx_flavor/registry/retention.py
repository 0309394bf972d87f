"""Find versions and candidates that nothing refers to any more, and remove them on request.

A version stays if it has an alias or a signature, is among the newest, or was not made by this
package.  A candidate's logged model stays while any version is made from it, while its step is in
progress, or while another release may still reuse it (`Reuse`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Literal

from pydantic import BaseModel, ConfigDict

from mlflow_onnx_flavor.registry.client import PAGE, registry_errors, versions_of
from mlflow_onnx_flavor.schemas.registry_tags import EVIDENCE_TAG, KEY_TAG, SIGNED_TAG
from mlflow_onnx_flavor.schemas.tags import STEP_TAG
from mlflow_onnx_flavor.tracking.server import check_server, server_time

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import LoggedModel, Run
    from mlflow.entities.model_registry import ModelVersion

_DAY_MS = 24 * 3600 * 1000
_STEPS_WITH_MODELS = ("convert", "optimize")


class Superseded(BaseModel):
    """A version or a candidate that may be removed.

    ``evidence_run_id``: the run that is removed with a version; empty for a candidate.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["version", "candidate"]
    name: str  # name of the registered model, or of the candidate
    id: str  # version, or id of the logged model
    age_days: float
    evidence_run_id: str = ""


def superseded(name: str, *, keep: int = 3, older_than_days: float = 30) -> list[Superseded]:
    """Return the versions of ``name`` and the candidates that may be removed, the oldest first.

    ``keep``: the number of newest versions that stay.  Raises RegistryError.
    """
    check_server()
    with registry_errors(f"looking through {name!r}"):
        before_ms = server_time() * 1000 - older_than_days * _DAY_MS
        found = [
            *_versions(name, keep, before_ms),
            *_candidates(name, before_ms),
        ]
    return sorted(found, key=lambda each: -each.age_days)


def remove(items: Iterable[Superseded]) -> None:
    """Delete ``items``; runs go to MLflow's bin, where `mlflow gc` finds them."""
    from mlflow import MlflowClient

    client = MlflowClient()
    for item in items:
        with registry_errors(f"removing {item.kind} {item.id} of {item.name!r}"):
            if item.kind == "candidate":
                client.delete_logged_model(item.id)
                continue
            client.delete_model_version(item.name, item.id)
            if item.evidence_run_id:
                client.delete_run(item.evidence_run_id)


def _versions(name: str, keep: int, before_ms: float) -> Iterator[Superseded]:
    from mlflow import MlflowClient

    aliased = {str(each) for each in MlflowClient().get_registered_model(name).aliases.values()}
    newest_first = sorted(versions_of(name), key=lambda each: -int(each.version))
    going = [
        each
        for each in newest_first[keep:]
        if KEY_TAG in each.tags
        and SIGNED_TAG not in each.tags
        and str(each.version) not in aliased
        and each.creation_timestamp < before_ms
    ]
    staying = {each.version for each in newest_first} - {each.version for each in going}
    needed = {_evidence(each) for each in newest_first if each.version in staying}
    for each in going:
        run_id = _evidence(each)
        yield Superseded(
            kind="version",
            name=name,
            id=str(each.version),
            age_days=_age_days(each.creation_timestamp),
            evidence_run_id="" if run_id in needed else run_id,
        )


def _evidence(version: ModelVersion) -> str:
    return version.tags.get(EVIDENCE_TAG, "")


def _candidates(name: str, before_ms: float) -> Iterator[Superseded]:
    """Yield the removable candidates in the experiments in which ``name`` was released."""
    from mlflow import MlflowClient

    client = MlflowClient()
    experiments = {
        client.get_run(run_id).info.experiment_id
        for run_id in {_evidence(each) for each in versions_of(name)}
        if run_id
    }
    if not experiments:
        return
    used = {str(each.source).removeprefix("models:/") for each in _all_versions(client)}
    for model in _logged_models(client, sorted(experiments)):
        if model.model_id in used or model.creation_timestamp >= before_ms:
            continue
        run = client.get_run(model.source_run_id) if model.source_run_id else None
        if run is not None and _is_over(run):
            yield Superseded(
                kind="candidate",
                name=model.name,
                id=model.model_id,
                age_days=_age_days(model.creation_timestamp),
            )


def _is_over(run: Run) -> bool:
    """Return whether the run is a step of ours that makes candidates, and has ended."""
    return run.data.tags.get(STEP_TAG) in _STEPS_WITH_MODELS and run.info.status != "RUNNING"


def _all_versions(client: MlflowClient) -> Iterator[ModelVersion]:
    token = None
    while True:
        page = client.search_model_versions(max_results=PAGE, page_token=token)
        yield from page
        token = page.token
        if not token:
            return


def _logged_models(client: MlflowClient, experiments: list[str]) -> Iterator[LoggedModel]:
    token = None
    while True:
        page = client.search_logged_models(experiments, max_results=50, page_token=token)
        yield from page
        token = page.token
        if not token:
            return


def _age_days(created_ms: float) -> float:
    return (server_time() * 1000 - created_ms) / _DAY_MS
