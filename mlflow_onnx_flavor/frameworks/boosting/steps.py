"""XGBoost, LightGBM and CatBoost estimators as steps of scikit-learn pipelines."""

from __future__ import annotations

import importlib
import sys
from typing import Any

import numpy as np
from skl2onnx import update_registered_converter
from skl2onnx.common import shape_calculator as shapes
from skl2onnx.common.shape_calculator import calculate_linear_classifier_output_shapes
from skl2onnx.common.utils_classifier import get_label_classes

from mlflow_onnx_flavor.errors import NotExportableError
from mlflow_onnx_flavor.frameworks.boosting.answers import LABEL, PREDICTION, PROBABILITIES
from mlflow_onnx_flavor.frameworks.boosting.base import BoostingFramework
from mlflow_onnx_flavor.frameworks.boosting.compat import parse_as_classifier
from mlflow_onnx_flavor.frameworks.sklearn import converters
from mlflow_onnx_flavor.frameworks.sklearn.converters import trees_graph

_FRAMEWORKS = ("xgboost", "lightgbm", "catboost")


def register_boosted_steps(model: Any) -> None:
    """Register converters with skl2onnx for the booster libraries that are already imported."""
    converters.register_all()
    for name in _FRAMEWORKS:
        if name in sys.modules:
            inside = importlib.import_module(f"mlflow_onnx_flavor.frameworks.{name}.framework")
            _register(name, inside.framework)


def _register(module: str, framework: BoostingFramework) -> None:
    for name, classifies in framework.estimators.items():
        estimator = getattr(sys.modules[module], name, None)
        if estimator is None:
            continue
        options = {"nocl": [True, False], "zipmap": [True, False, "columns"]}
        if framework.has_scores:
            options["raw_scores"] = [True, False]
        update_registered_converter(
            estimator,
            f"Boosted{name}",
            _classifier_shapes if classifies else shapes.calculate_linear_regressor_output_shapes,
            _converter(framework),
            # scikit-learn, and so skl2onnx, recognises the other classifiers by itself.
            parser=parse_as_classifier if name == "CatBoostClassifier" else None,
            options=options if classifies else None,
        )


def _classifier_shapes(operator: Any) -> None:
    calculate_linear_classifier_output_shapes(operator)
    if _answers_in_a_column(operator.scope_inst, operator.raw_operator):
        label = operator.outputs[0].type
        label.shape = [label.shape[0], 1]


def _answers_in_a_column(scope: Any, model: Any) -> bool:
    """Return whether labels have shape (rows, 1), as CatBoost's have with more than two classes.

    An estimator around the booster may ask for positions in place of labels ("nocl"); those have
    shape (rows,).
    """
    asked_positions = scope.get_options(model, {"nocl": False})["nocl"]
    return type(model).__name__ == "CatBoostClassifier" and (
        len(model.classes_) > 2 and not asked_positions
    )


def _converter(framework: BoostingFramework) -> Any:
    def convert(scope: Any, operator: Any, container: Any) -> None:
        _convert(framework, scope, operator, container)

    return convert


def _convert(framework: BoostingFramework, scope: Any, operator: Any, container: Any) -> None:
    trees_graph.declare_trees_opset()
    model = operator.raw_operator
    if not framework.rounds_rows:
        trees_graph.require_float64(scope, operator)
    parts = trees_graph.parts_of(scope)
    rows = trees_graph.float64_rows(parts, operator, rounded=framework.rounds_rows)
    if len(operator.outputs) == 1:
        value = framework.add_answers(parts, rows, model)[PREDICTION]
        columns = parts.constant([-1, max(value.columns, 1)], np.int64)
        matrix = parts.add("Reshape", value.name, columns)
        # skl2onnx declares one column; only the booster knows how many targets it has.
        operator.outputs[0].type.shape = [None, max(value.columns, 1)]
        trees_graph.result(parts, matrix, operator.outputs[0])
    else:
        answers = framework.add_answers(parts, rows, model, get_label_classes(scope, model))
        label, probabilities = answers[LABEL], answers[PROBABILITIES]
        if label.columns or not probabilities.columns:
            raise NotExportableError(
                f"{type(model).__name__} answers with {label.columns or 'no'} columns of labels,"
                " which a scikit-learn pipeline's ONNX form cannot hold; log the model by itself"
            )
        kind = np.int64 if label.dtype is not object else object
        name = label.name
        if _answers_in_a_column(scope, model):
            name = parts.add("Reshape", name, parts.constant([-1, 1], np.int64))
        parts.cast(name, kind, output=operator.outputs[0].full_name)
        scores = probabilities.name
        if framework.has_scores and _asks_scores(container, model):
            scores = framework.add_scores(parts, rows, model)
        trees_graph.result(parts, scores, operator.outputs[1])
    trees_graph.put(parts, container)


def _asks_scores(container: Any, model: Any) -> bool:
    return container.get_options(model, {"raw_scores": False})["raw_scores"]
