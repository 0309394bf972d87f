"""The history of aliases (who moved which alias when), kept in tags of the registered model."""

from __future__ import annotations

import getpass
import json
import re
from datetime import UTC, datetime, timedelta

from pydantic import BaseModel, ConfigDict

from mlflow_onnx_flavor.registry.client import registry_errors
from mlflow_onnx_flavor.tracking.server import check_server

HISTORY_TAG = "onnx.history."


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


def history(name: str) -> list[Movement]:
    """Return every recorded move of an alias of ``name``, the oldest first."""
    from mlflow import MlflowClient

    check_server()
    with registry_errors(f"reading {name!r}"):
        tags = MlflowClient().get_registered_model(name).tags
    return [
        Movement.model_validate_json(tags[key])
        for key in sorted(tags)
        if key.startswith(HISTORY_TAG)
    ]


def movement(
    action: str, name: str, alias: str, moved_from: str | None, moved_to: str, why: str
) -> Movement:
    """Return a `Movement` of now, made by the user of this process; nothing is recorded yet."""
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


def record(moved: Movement) -> None:
    """Add ``moved`` to the history, with a time later than that of every recorded move.

    The clock of the machine that moved the alias before may have been ahead.
    """
    from mlflow import MlflowClient

    last = max((each.when for each in history(moved.name)), default="")
    if moved.when <= last:
        later = datetime.fromisoformat(last) + timedelta(microseconds=1)
        moved = moved.model_copy(update={"when": later.isoformat(timespec="microseconds")})
    # MLflow accepts letters, digits and _ - . : / and blanks in the key of a tag.
    key = HISTORY_TAG + re.sub(r"[^\w.:-]", "_", moved.when)
    MlflowClient().set_registered_model_tag(
        moved.name, key, json.dumps(moved.model_dump(), ensure_ascii=False)
    )


def complete(name: str, alias: str, current: str) -> None:
    """Record the move that left ``alias`` on ``current``, unless the history has it.

    The process that moved the alias may have ended before it recorded the move.
    """
    moves = [each for each in history(name) if each.alias == alias]
    last = moves[-1].moved_to if moves else None
    if last != current:
        why = "found like this: whoever moved it was ended before it was recorded"
        record(movement("promote", name, alias, last, current, why))
