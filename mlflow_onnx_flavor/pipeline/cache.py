"""Keys of steps, under which the result of a finished step is found again.

The same inputs, parameters, code and versions give the same key. A second release, or one that is
resumed after it was killed, therefore does not repeat a step that finished.
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
    """Return the key of a step: a SHA-256 digest in hexadecimal.

    It covers ``parts``, which must be JSON, this package's code, and the versions of the libraries
    that run a graph.
    """
    installed = versions(("mlflow", "onnx")) | runtime_versions()
    whole = {"step": step, "code": code_digest(), "versions": installed, **parts}
    text = json.dumps(whole, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()


def versions_of(framework: str) -> dict[str, str]:
    """Return the versions of the distributions that load and export a source of ``framework``."""
    return versions(frameworks.get(framework).distributions)


def hardware() -> dict[str, Any]:
    """Return the properties of this machine that predictions and latency depend on."""
    return {"cpu": cpu_model(), "cores": cores_allowed(), "memory": memory_bytes()}


@functools.cache
def code_digest() -> str:
    """Return the SHA-256 digest of this package's source files.

    Other code may predict otherwise.
    """
    sha = hashlib.sha256()
    for file in sorted(_PACKAGE.rglob("*.py")):
        sha.update(str(file.relative_to(_PACKAGE)).encode() + b"\0" + file.read_bytes())
    return sha.hexdigest()


def finished(
    step: str, key: str, configuration: Configuration, read: Callable[[str], Record]
) -> Record | None:
    """Return the result of the latest finished run of ``step`` with ``key``, as ``read`` reads it.

    Every experiment in the store that this user may read is searched. Return None, and the step is
    done, where there is no such run, where it is older than the configuration accepts, or where its
    records cannot be read any more.
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
                ids,  # noqa: B023, called before the loop goes on
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
                continue  # its artifacts were deleted
    return None


def _experiments(client) -> Iterator[list[str]]:
    """Yield the ids of this step's own experiment, then of the others that this user may read."""
    own, token = step_experiment_id(), None
    yield [own]
    while True:
        page = retried(lambda: client.search_experiments(max_results=500, page_token=token))
        if others := [each.experiment_id for each in page if each.experiment_id != own]:
            yield others
        if not (token := page.token):
            return
