"""Save a model object of the caller's process as MLflow would store it, to get a folder.

The caller has already imported the framework, so functions of this module import it too.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from mlflow_onnx_flavor.errors import InvalidDataError, UnsupportedModelError

if TYPE_CHECKING:
    from mlflow.models import ModelSignature

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
    "lightgbm": {"serialization_format": "cloudpickle"},  # skops trusts no ranker or objective
    "pytorch": {"serialization_format": "pickle"},
}


def save_live_model(model: Any, inputs: Any, folder: Path) -> Path:
    """Save ``model`` to ``folder`` with a signature inferred from ``inputs``; return ``folder``.

    The saved model has no signature where MLflow would refuse these very inputs under it:
    categories, and integers or booleans with missing values.

    Raises UnsupportedModelError for an object of an unknown framework, InvalidDataError without
    ``inputs`` (a DataFrame, array or dictionary of arrays).
    """
    import importlib

    flavor = _flavor_of(model)
    if inputs is None or isinstance(inputs, str | Path):
        raise InvalidDataError(
            "a live model says nothing about its inputs; give them as a DataFrame, an array or a"
            " dictionary of arrays"
        )
    module = importlib.import_module(f"mlflow.{flavor}")
    signature = _signature_of(inputs)
    module.save_model(
        model,
        str(folder),
        signature=signature,
        # MLflow would infer a signature from an example.
        input_example=None if signature is None else _first_rows(inputs),
        pip_requirements=[],  # the model is loaded in this environment only
        **_OPTIONS.get(flavor, {}),
    )
    return folder


def _signature_of(inputs: Any) -> ModelSignature | None:
    from mlflow.exceptions import MlflowException
    from mlflow.models import infer_signature
    from mlflow.models.utils import _enforce_schema  # serving checks every request with it

    if isinstance(inputs, pd.Series):
        return None  # MLflow would pass a frame, whose column names scikit-learn reads as texts
    signature = infer_signature(inputs)
    try:
        _enforce_schema(inputs, signature.inputs)
    except (MlflowException, ValueError, TypeError):
        return None
    return signature


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
