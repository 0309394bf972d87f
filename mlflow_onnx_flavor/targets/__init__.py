"""Targets: the forms that an ONNX model is exported to, a program of another framework or text.

Adding a target is adding one file (or folder) to this package, with a `base.Target` as ``target``.
"""

from __future__ import annotations

import difflib
import importlib
import importlib.util
import pkgutil
from functools import cache

from mlflow_onnx_flavor.errors import ConfigurationError
from mlflow_onnx_flavor.targets.base import Target


@cache
def names() -> tuple[str, ...]:
    """Return the names of all targets, in alphabetical order."""
    modules = (each.name for each in pkgutil.iter_modules(__path__))
    return tuple(sorted(name for name in modules if isinstance(_target(name), Target)))


def get(name: str) -> Target:
    """Return the target ``name``.

    Raises ConfigurationError with the nearest name if there is no such target.
    """
    if name not in names():
        near = difflib.get_close_matches(name, names(), n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(names())}"
        raise ConfigurationError(f"unknown target {name!r}; {hint}")
    found = _target(name)
    assert found is not None  # its name is among those of targets
    return found


def is_installed(name: str) -> bool:
    """Return whether the modules that the target needs can be imported."""
    return all(importlib.util.find_spec(each) is not None for each in get(name).modules)


def _target(name: str) -> Target | None:
    return getattr(importlib.import_module(f"{__name__}.{name}"), "target", None)
