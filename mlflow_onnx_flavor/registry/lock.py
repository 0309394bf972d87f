"""One mover of an alias at a time: a lock in a tag of the registered model.

MLflow has no transactions, and a tag is written without looking at what it held.  So whoever wants
the lock writes its name, waits for others that were about to, and has it where its name still
stands.  That keeps two promotions apart unless a write takes longer than the wait to arrive; what
moved the alias is therefore read again afterwards, and the loser is told.
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
SETTLE_S = 0.3  # for a write that was on its way
PATIENCE_S = 30.0
# A mover needs a few seconds: whoever holds the lock for longer was ended, or has lost the server.
LEASE_S = 120.0


@contextmanager
def lock(name: str, alias: str) -> Iterator[None]:
    """Hold the lock on ``alias`` of the registered model ``name``.

    Raises PromotionRefusedError where somebody else keeps it for longer than `PATIENCE_S`.
    """
    from mlflow import MlflowClient
    from mlflow.exceptions import MlflowException

    client, key = MlflowClient(), LOCK_TAG + alias
    mine = json.dumps({"token": uuid.uuid4().hex, "by": this_process(), "since": server_time()})
    _acquire(client, name, key, mine, alias)
    try:
        yield
    finally:
        with suppress(MlflowException):  # it ends with its lease
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
    """Also where another writes the tag for the first time at the same moment, which the database
    refuses to one of the two: that one waits.
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
    """Whether whoever holds the lock was ended, as far as can be told from here."""
    try:
        holder = json.loads(held)
        return is_gone(holder["by"]) or server_time() - holder["since"] > LEASE_S
    except (ValueError, KeyError, TypeError, RecursionError):
        return True  # nothing that this code wrote
