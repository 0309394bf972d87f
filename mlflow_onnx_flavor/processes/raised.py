"""Pass an exception from a child process to its parent with its class, cause and remedy.

The child's traceback comes along as the exception's ``__cause__``, so that a log shows it below the
parent's own.
"""

from __future__ import annotations

import traceback
from collections.abc import Iterator
from typing import Any

from mlflow_onnx_flavor.errors import OnnxFlavorError, WorkerTaskError


class ChildError(Exception):
    """The child's traceback as text."""

    def __str__(self) -> str:
        return f"in the child process:\n\n{self.args[0]}"


def describe(error: Exception) -> dict[str, Any]:
    """Return ``error`` as JSON: class, message, traceback and the attributes that travel."""
    description: dict[str, Any] = {
        "class": _name(type(error)),
        "type": type(error).__name__,
        "message": str(error),
        "traceback": "".join(traceback.format_exception(error)),
    }
    if isinstance(error, OnnxFlavorError):
        description["message"] = error.cause
        description["attributes"] = {name: getattr(error, name) for name in error.travelling}
    return description


def rebuild(description: dict[str, Any]) -> Exception:
    """Return the exception that the child described, to be raised in its parent.

    It is one of this package's own where the parent knows its class; otherwise a WorkerTaskError.
    The child may have run a pickle, so the class is looked up only among those loaded in the
    parent, never imported by the name that the child gives.
    """
    known = _known().get(description["class"])
    error = (
        WorkerTaskError(
            f"{description['type']}: {description['message']}", description["traceback"]
        )
        if known is None
        else _ours(known, description)
    )
    error.__cause__ = ChildError(description["traceback"].rstrip())
    return error


def _ours(known: type[OnnxFlavorError], description: dict[str, Any]) -> OnnxFlavorError:
    """Return the error made without its own constructor, whose arguments vary between classes."""
    error = known.__new__(known)
    OnnxFlavorError.__init__(error, description["message"])
    attributes = description.get("attributes", {})
    vars(error).update({name: str(attributes.get(name, "")) for name in known.travelling})
    return error


def _known() -> dict[str, type[OnnxFlavorError]]:
    return {_name(each): each for each in _below(OnnxFlavorError)}


def _below(base: type[OnnxFlavorError]) -> Iterator[type[OnnxFlavorError]]:
    yield base
    for each in base.__subclasses__():
        yield from _below(each)


def _name(error_class: type) -> str:
    return f"{error_class.__module__}:{error_class.__qualname__}"
