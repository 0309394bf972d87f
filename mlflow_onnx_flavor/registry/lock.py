"""A lock in a tag of the registered model: one process at a time moves an alias.

MLflow has no transactions, and a tag is written without comparing it with its old value.  A process
that wants the lock therefore writes its name, waits for concurrent writes to arrive, and holds the
lock if its name is still there.  This keeps two promotions apart unless a write takes longer than
the wait to arrive.  The alias is therefore read again after the move, and the process that lost
raises an error.
"""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from mlflow_onnx_flavor.errors import PromotionRefusedError
from mlflow_onnx_flavor.machine.process_id import is_gone, this_process
from mlflow_onnx_flavor.tracking.server import server_time

if TYPE_CHECKING:
    from mlflow import MlflowClient

LOCK_TAG = "onnx.lock."
SETTLE_S = 0.3  # time for a concurrent write to arrive
PATIENCE_S = 30.0
# A move takes seconds: a process that holds the lock longer has ended or lost the server.
LEASE_S = 120.0


@contextmanager
def lock(name: str, alias: str) -> Iterator[None]:
    """Hold the lock on ``alias`` of the registered model ``name``.

    Raises PromotionRefusedError where another process keeps it for longer than `PATIENCE_S`.
    """
    from mlflow import MlflowClient
    from mlflow.exceptions import MlflowException

    client, key = MlflowClient(), LOCK_TAG + alias
    mine = json.dumps({"token": uuid.uuid4().hex, "by": this_process(), "since": server_time()})
    _acquire(client, name, key, mine, alias)
    try:
        yield
    finally:
        with suppress(MlflowException):  # the lock ends with its lease
            if _held(client, name, key) == mine:
                client.delete_registered_model_tag(name, key)


def _acquire(client: MlflowClient, name: str, key: str, mine: str, alias: str) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while True:
        held = _held(client, name, key)
        if held is None or _is_over(held):
            _write(client, name, key, mine)
            time.sleep(SETTLE_S)
            if _held(client, name, key) == mine:
                return
        elif time.monotonic() > deadline:
            raise PromotionRefusedError(
                f"alias {alias!r} of {name!r} is being moved by {json.loads(held)['by']}; try again"
                " when that has ended"
            )
        time.sleep(SETTLE_S)


def _write(client: MlflowClient, name: str, key: str, mine: str) -> None:
    """Write the tag.

    Where another writes it for the first time at the same moment, the database refuses one of the
    two, and that one waits.
    """
    from mlflow.exceptions import MlflowException

    try:
        client.set_registered_model_tag(name, key, mine)
    except MlflowException:
        if _held(client, name, key) is None:
            raise


def _held(client: MlflowClient, name: str, key: str) -> str | None:
    held: str | None = client.get_registered_model(name).tags.get(key)
    return held


def _is_over(held: str) -> bool:
    """Return whether the holder of the lock has ended, as far as this machine can see."""
    try:
        holder = json.loads(held)
        return is_gone(holder["by"]) or server_time() - holder["since"] > LEASE_S
    except (ValueError, KeyError, TypeError, RecursionError):
        return True  # not written by this module
