"""A model object in the caller's process, saved as MLflow would store it, so that it has a folder.

The caller has imported the framework already, so it is imported here too, inside functions.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from mlflow_onnx_flavor.errors import InvalidDataError, UnsupportedModelError

# The first match along the class's bases decides: an XGBClassifier is also a scikit-learn model.
_FLAVOR_OF_PACKAGE = {
    "xgboost": "xgboost",
    "lightgbm": "lightgbm",
    "catboost": "catboost",
    "torch": "pytorch",
    "keras": "tensorflow",
    "tensorflow": "tensorflow",
    "sklearn": "sklearn",
}
_OPTIONS = {
    "sklearn": {"serialization_format": "cloudpickle"},
    "pytorch": {"serialization_format": "pickle"},
}


def save_live_model(model: Any, inputs: Any, folder: Path) -> Path:
    """Save ``model`` to ``folder`` with a signature inferred from ``inputs``; returns ``folder``.

    Raises UnsupportedModelError for an object of no known framework, InvalidDataError without
    ``inputs`` (a DataFrame, array or dictionary of arrays).
    """
    import importlib

    from mlflow.models import infer_signature

    flavor = _flavor_of(model)
    if inputs is None or isinstance(inputs, str | Path):
        raise InvalidDataError(
            "a live model says nothing about its inputs; give them as a DataFrame, an array or a"
            " dictionary of arrays"
        )
    module = importlib.import_module(f"mlflow.{flavor}")
    module.save_model(
        model,
        str(folder),
        signature=infer_signature(inputs),
        input_example=_first_rows(inputs),
        pip_requirements=[],  # it is loaded in this environment only
        **_OPTIONS.get(flavor, {}),
    )
    return folder


def _flavor_of(model: Any) -> str:
    for base in type(model).__mro__:
        flavor = _FLAVOR_OF_PACKAGE.get(base.__module__.partition(".")[0])
        if flavor is not None:
            return flavor
    raise UnsupportedModelError(
        f"a {type(model).__module__}.{type(model).__qualname__} is not a model of a known framework"
        f" ({', '.join(sorted(set(_FLAVOR_OF_PACKAGE)))}); give a model URI instead"
    )


def _first_rows(inputs: Any, rows: int = 5) -> Any:
    if isinstance(inputs, dict):
        return {name: np.asarray(array)[:rows] for name, array in inputs.items()}
    return inputs[:rows]
