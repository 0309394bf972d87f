"""Stacking and voting as transformers: the predictions of their estimators side by side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from mlflow_onnx_flavor.errors import NotExportableError
from mlflow_onnx_flavor.frameworks.sklearn.converters import transformers_graph as graph
from mlflow_onnx_flavor.frameworks.sklearn.converters.estimators_graph import without_maps


@dataclass(frozen=True)
class _LinearScores:
    """The decision_function of a linear classifier, in the form of a transformer."""

    estimator: Any

    @property
    def weights(self) -> np.ndarray:
        """The coefficients, shape (scores, features)."""
        return np.atleast_2d(self.estimator.coef_)


_PREDICTIONS = "MlflowOnnxFlavorPredictions"


def register() -> None:
    """Register this file's operator with skl2onnx."""
    from skl2onnx.common._registration import register_converter, register_shape_calculator

    graph.register(
        {
            _LinearScores: graph.Rule(
                _linear_scores, width=lambda scores: len(scores.estimator.coef_)
            )
        }
    )
    register_converter(_PREDICTIONS, _convert, overwrite=True)
    register_shape_calculator(_PREDICTIONS, _declare, overwrite=True)


def transforms(model: Any) -> bool:
    """Return whether `parse` can declare the transform of ``model``."""
    from sklearn import ensemble

    names = ("StackingClassifier", "StackingRegressor", "VotingClassifier", "VotingRegressor")
    return type(model) in [getattr(ensemble, each) for each in names]


def parse(scope: Any, model: Any, inputs: Sequence[Any]) -> list[Any]:
    """Declare ``model.transform`` of ``inputs``, one variable, and return its one output."""
    asked = []
    for estimator, method in zip(model.estimators_, _methods(model), strict=True):
        asked.append(_asked(scope, estimator, method, inputs))
    if getattr(model, "passthrough", False):
        asked.append(inputs[0])
    operator = scope.declare_local_operator(_PREDICTIONS, model)
    operator.inputs = asked
    kind = graph.number_type(inputs)
    operator.outputs.append(scope.declare_local_variable("predictions", kind()))
    return operator.outputs


def _methods(model: Any) -> list[str]:
    """Return the method to call on each estimator."""
    if hasattr(model, "stack_method_"):
        return list(model.stack_method_)
    if getattr(model, "voting", "hard") == "hard":
        return ["predict"] * len(model.estimators_)
    if not model.flatten_transform:
        raise NotExportableError(
            "VotingClassifier(flatten_transform=False) gives three axes; fit it with"
            " flatten_transform=True"
        )
    return ["predict_proba"] * len(model.estimators_)


def _asked(scope: Any, estimator: Any, method: str, inputs: Sequence[Any]) -> Any:
    from skl2onnx._parse import _parse_sklearn
    from sklearn.linear_model._base import LinearClassifierMixin

    if method == "decision_function":
        # skl2onnx's raw scores are not always the estimator's own.
        kind = type(estimator)
        if getattr(kind, method) is not LinearClassifierMixin.decision_function:
            raise NotExportableError(
                f"stacking on the decision_function of {kind.__name__} has no ONNX form here; use"
                " stack_method='predict' or 'predict_proba'"
            )
        return graph.parse(scope, _LinearScores(estimator), inputs)[0]
    without_maps(scope, estimator)
    found = _parse_sklearn(scope, estimator, list(inputs))
    return found[0] if method == "predict" else found[1]


def _drops_first(model: Any) -> bool:
    """Return whether stacking drops the first of two probabilities that add up to 1."""
    return hasattr(model, "stack_method_") and len(getattr(model, "classes_", ())) == 2


def _declare(operator: Any) -> None:
    kind = graph.number_type(operator.inputs)
    operator.outputs[0].type = kind([None, _width(operator)])


def _width(operator: Any) -> int | None:
    total = 0
    for each in operator.inputs:
        shape = each.type.shape
        width = shape[1] if len(shape) == 2 else 1
        if width is None:
            return None
        total += width
    if _drops_first(operator.raw_operator):
        total -= list(operator.raw_operator.stack_method_).count("predict_proba")
    return total


def _convert(scope: Any, operator: Any, container: Any) -> None:
    model, output = operator.raw_operator, operator.outputs[0]
    wide = graph.is_type(output, "DoubleTensorType")
    rows = graph.Rows(scope.get_unique_variable_name, np.float64 if wide else np.float32)
    methods, found = [*_methods(model), "passthrough"], []
    for each, method in zip(operator.inputs, methods, strict=False):
        value = rows.cast(each.full_name, rows.dtype)
        if method == "predict":
            value = rows.reshape(value, -1, 1)
        elif method == "predict_proba" and _drops_first(model):
            value = rows.columns(value, [1])
        found.append(value)
    rows.add("Concat", *found, output=output.full_name, axis=1)
    graph.put(rows, container)


def _linear_scores(rows: graph.Rows, model: _LinearScores, matrix: str) -> str:
    product = rows.op("MatMul", matrix, model.weights.T)
    return rows.op("Add", product, np.ravel(model.estimator.intercept_))
