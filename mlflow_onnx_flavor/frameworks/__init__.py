"""The source frameworks: recognising a model's framework, its face and its implementation.

A framework is one folder.  Its ``__init__.py`` defines a `face.Face` as ``face``, which does not
import the framework; its ``framework.py``, which does, defines a `base.Framework` as ``framework``.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import pkgutil
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from mlflow_onnx_flavor.errors import MissingFrameworkError, UnsupportedModelError
from mlflow_onnx_flavor.frameworks.base import Framework
from mlflow_onnx_flavor.frameworks.face import Face


@cache
def faces() -> dict[str, Face]:
    """Return the faces by the names of their folders, in order of precedence."""
    folders = [each.name for each in pkgutil.iter_modules(__path__) if each.ispkg]
    known = {
        name: importlib.import_module(f"{__name__}.{name}").face
        for name in folders
        if importlib.util.find_spec(f"{__name__}.{name}.framework")
    }
    return dict(sorted(known.items(), key=lambda each: (each[1].precedence, each[0])))


def supported() -> tuple[str, ...]:
    """Return the names of the frameworks, as `get` and `load` expect them."""
    return tuple(faces())


def get(name: str) -> Face:
    """Return the framework's face, without importing the framework."""
    return faces()[name]


def load(name: str) -> Framework:
    """Import the framework and return its implementation; only for a model's child process."""
    for variable, value in get(name).environment.items():
        os.environ.setdefault(variable, value)
    return importlib.import_module(f"{__name__}.{name}.framework").framework


def recognise(flavors: Mapping[str, Any]) -> str:
    """Return the framework of a model with these flavors (the ``flavors`` of its MLmodel file).

    Raises UnsupportedModelError, naming the model's flavors and the supported ones.
    """
    for name in _known(flavors):
        get(name).check(flavors[flavor_of(flavors, name)] or {})
        return name
    for face in faces().values():
        for flavor, remedy in face.refused.items():
            if flavor in flavors:
                raise UnsupportedModelError(f"the model's flavor is {flavor}; {remedy}")
    named = ", ".join(sorted(set(flavors) - {"python_function"})) or "python_function alone"
    raise UnsupportedModelError(
        f"the model's flavor is {named}; models of {', '.join(supported())} can be converted:"
        " log it with one of these flavors, or export it to ONNX yourself and log that"
    )


def is_onnx(flavors: Mapping[str, Any]) -> bool:
    """Return whether a model with these flavors is ONNX and belongs to no source framework."""
    return _known(flavors)[:1] == ["onnx"]


def flavor_of(flavors: Mapping[str, Any], name: str) -> str:
    """Return the key in ``flavors`` by which the framework ``name`` was recognised."""
    flavor = get(name).flavor_in(flavors)
    if flavor is None:
        raise UnsupportedModelError(f"the model has no flavor of {name}")
    return flavor


def served_by_mlflow(path: Path, flavors: Mapping[str, Any]) -> bool:
    """Return whether `mlflow.pyfunc.load_model` serves the model in folder ``path``.

    It does not if the model has no pyfunc, or if MLflow's loader is too new for the file.
    """
    if "python_function" not in flavors:
        return False
    known = _known(flavors)
    if not known:
        return True
    return get(known[0]).served_by_mlflow(path, flavors[flavor_of(flavors, known[0])])


def check_installed(name: str) -> None:
    """Raise MissingFrameworkError unless the framework is installed; import nothing."""
    face = get(name)
    missing = [module for module in face.modules if importlib.util.find_spec(module) is None]
    if missing:
        raise MissingFrameworkError(
            f"the model needs {', '.join(missing)}, which this environment lacks; install:"
            f" pip install 'mlflow-onnx-flavor[{face.extra}]'"
        )


def _known(flavors: Mapping[str, Any]) -> list[str]:
    """Return the frameworks that recognise these flavors, in order of precedence."""
    return [name for name, face in faces().items() if face.flavor_in(flavors)]
