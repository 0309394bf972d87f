"""The source frameworks: which one a model is of, and the file that knows it.

Adding a framework is adding one file that provides `base.Framework` and one line to `_FILES`.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mlflow_onnx_flavor.errors import MissingFrameworkError, UnsupportedModelError
from mlflow_onnx_flavor.frameworks.base import Framework
from mlflow_onnx_flavor.frameworks.transformers.tasks import check_task

# MLflow's flavor name -> the module that knows it; of a model with several flavors the first
# counts, since a booster's wrapper may carry the scikit-learn flavor as well.
_FILES = {
    "xgboost": "xgboost",
    "lightgbm": "lightgbm",
    "catboost": "catboost",
    "pytorch": "pytorch",
    "transformers": "transformers",
    "tensorflow": "tensorflow",
    "keras": "tensorflow",
    "sklearn": "sklearn",
    "mlflow_onnx_flavor": "onnx",
    "onnx": "onnx",
}

# Of flavors that are not converted as they are, what to do instead.
_REMEDIES = {
    "sentence_transformers": (
        "of what it does after its encoder nothing is said in a form that is converted: log the"
        " encoder with mlflow.transformers.log_model({'model': model[0].auto_model, 'tokenizer':"
        " model.tokenizer}, task='feature-extraction') and release that; its output mean_embedding"
        " is what mean pooling gives, not yet normalized"
    ),
}


def supported() -> tuple[str, ...]:
    """The names of the frameworks, as `get` takes them."""
    return tuple(dict.fromkeys(_FILES.values()))


def get(name: str) -> Framework:
    """The framework's module.  Importing it does not import the framework itself."""
    return importlib.import_module(f"mlflow_onnx_flavor.frameworks.{name}.framework")


def recognise(flavors: Mapping[str, Any]) -> str:
    """The framework of a model with these flavors (the ``flavors`` of its MLmodel file).

    Raises UnsupportedModelError naming what was found and what is known.
    """
    for flavor, name in _known(flavors):
        if flavor == "transformers":
            check_task(flavors[flavor] or {})
        return name
    for flavor, remedy in _REMEDIES.items():
        if flavor in flavors:
            raise UnsupportedModelError(f"the model's flavor is {flavor}; {remedy}")
    found = ", ".join(sorted(set(flavors) - {"python_function"})) or "python_function alone"
    raise UnsupportedModelError(
        f"the model's flavor is {found}; models of {', '.join(supported())} can be converted:"
        " log it with one of these flavors, or export it to ONNX yourself and log that"
    )


def is_onnx(flavors: Mapping[str, Any]) -> bool:
    """Whether a model with these flavors is ONNX, and no source framework's as well."""
    return [name for _, name in _known(flavors)][:1] == ["onnx"]


def _known(flavors: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The flavors that a framework here knows, with its name; the first is the one that counts."""
    return [(flavor, name) for flavor, name in _FILES.items() if flavor in flavors]


def flavor_of(flavors: Mapping[str, Any], name: str) -> str:
    """The key in ``flavors`` by which the framework ``name`` was recognised."""
    return next(flavor for flavor, each in _known(flavors) if each == name)


def served_by_mlflow(path: Path, flavors: Mapping[str, Any]) -> bool:
    """Whether `mlflow.pyfunc.load_model` serves the model in folder ``path``, of these flavors.

    It does not where MLflow gave it no pyfunc, nor where its loader is too new for the file.
    """
    if "python_function" not in flavors:
        return False
    for flavor, name in _known(flavors):
        served = getattr(get(name), "served_by_mlflow", None)
        return served is None or served(path, flavors[flavor])
    return True


def check_installed(name: str) -> None:
    """Raise MissingFrameworkError unless the framework can be imported; imports nothing."""
    framework = get(name)
    missing = [module for module in framework.modules if importlib.util.find_spec(module) is None]
    if missing:
        raise MissingFrameworkError(
            f"the model needs {', '.join(missing)}, which this environment lacks; install:"
            f" pip install 'mlflow-onnx-flavor[{framework.extra}]'"
        )
