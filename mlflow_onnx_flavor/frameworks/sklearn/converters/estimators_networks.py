"""Multi-output MLPRegressor (skl2onnx flattens its output into one column)."""

from __future__ import annotations

from typing import Any

import numpy as np

from mlflow_onnx_flavor.frameworks.sklearn.converters.estimators_graph import (
    REGRESSOR,
    Combination,
    declared,
)
from mlflow_onnx_flavor.frameworks.sklearn.converters.transformers_graph import Rows

_ACTIVATIONS = {"logistic": "Sigmoid", "relu": "Relu", "tanh": "Tanh"}


def register() -> None:
    """Register this file's parser with skl2onnx."""
    from skl2onnx import _parse
    from sklearn.neural_network import MLPRegressor

    def parse(scope: Any, model: Any, inputs: Any, custom_parsers: Any = None) -> list[Any]:
        if model.n_outputs_ == 1:
            return _parse._parse_sklearn_simple_model(scope, model, inputs)
        return declared(scope, inputs, Combination(model, REGRESSOR, _layers, model.n_outputs_))

    _parse.update_registered_parser(MLPRegressor, parse)


def _layers(rows: Rows, model: Any, values: list[str]) -> str:
    value = rows.joined(values)
    last = len(model.coefs_) - 1
    for number, (weights, bias) in enumerate(zip(model.coefs_, model.intercepts_, strict=True)):
        value = rows.op("MatMul", value, np.asarray(weights))
        value = rows.op("Add", value, np.asarray(bias))
        activation = _ACTIVATIONS.get(model.activation) if number < last else None
        value = rows.add(activation, value) if activation else value
    return value
