"""Keys of steps: the same inputs, parameters, code and versions give the same key, so that a step
that finished is not done again, by a second release or by one that goes on after it was killed.
"""

from __future__ import annotations

import functools
import hashlib
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

from mlflow_onnx_flavor import frameworks
from mlflow_onnx_flavor.errors import CorruptModelError
from mlflow_onnx_flavor.machine.execution_providers import runtime_versions
from mlflow_onnx_flavor.machine.hardware import cores_allowed, cpu_model, memory_bytes, versions
from mlflow_onnx_flavor.pipeline.runs import is_finished_with, step_experiment_id
from mlflow_onnx_flavor.schemas.configuration import Configuration
from mlflow_onnx_flavor.schemas.tags import KEY_TAG, STEP_TAG
from mlflow_onnx_flavor.tracking.retrying import retried

Record = TypeVar("Record")

_PACKAGE = Path(__file__).resolve().parent.parent


def step_key(step: str, **parts: Any) -> str:
    """Return the SHA-256 (hex) of ``parts``, which are JSON, with this package's code and the
    versions of whatever runs a graph.
    """
    installed = versions(("mlflow", "onnx")) | runtime_versions()
    whole = {"step": step, "code": code_digest(), "versions": installed, **parts}
    text = json.dumps(whole, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()


def versions_of(framework: str) -> dict[str, str]:
    """Of what a source of that framework is loaded and exported with."""
    return versions(frameworks.get(framework).distributions)


def hardware() -> dict[str, Any]:
    """What answers and times depend on, of this machine."""
    return {"cpu": cpu_model(), "cores": cores_allowed(), "memory": memory_bytes()}


@functools.cache
def code_digest() -> str:
    """Of every source file of this package: other code may answer otherwise."""
    sha = hashlib.sha256()
    for file in sorted(_PACKAGE.rglob("*.py")):
        sha.update(str(file.relative_to(_PACKAGE)).encode() + b"\0" + file.read_bytes())
    return sha.hexdigest()


def finished(
    step: str, key: str, configuration: Configuration, read: Callable[[str], Record]
) -> Record | None:
    """What ``read`` makes of the latest finished run of that step and key, wherever in the store.

    None where there is none, where it is older than the configuration takes, or where its records
    cannot be read any more; the step is then done.
    """
    from mlflow import MlflowClient

    if not configuration.reuse.enabled:
        return None
    client = MlflowClient()
    found = (
        run
        for ids in _experiments(client)
        for run in retried(
            lambda: client.search_runs(
                ids,  # noqa: B023, called before the next ones
                f"tags.`{KEY_TAG}` = '{key}' and tags.`{STEP_TAG}` = '{step}'",
                order_by=["attributes.start_time DESC"],
                max_results=20,
            )
        )
    )
    oldest_ms = (time.time() - 3600 * configuration.reuse.max_age_hours) * 1000
    for run in found:
        if is_finished_with(run, key) and run.info.end_time >= oldest_ms:
            try:
                return read(run.info.run_id)
            except CorruptModelError:
                continue  # its artifacts are gone
    return None


def _experiments(client) -> Iterator[list[str]]:
    """The experiment that this step's run goes to, then the others that this user may read."""
    own, token = step_experiment_id(), None
    yield [own]
    while True:
        page = retried(lambda: client.search_experiments(max_results=500, page_token=token))
        if others := [each.experiment_id for each in page if each.experiment_id != own]:
            yield others
        if not (token := page.token):
            return
