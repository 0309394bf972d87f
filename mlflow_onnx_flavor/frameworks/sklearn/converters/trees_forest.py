"""Single trees, forests and bagged trees of scikit-learn.

scikit-learn rounds rows to float32 and compares them with float64 thresholds; so does the graph.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from mlflow_onnx_flavor.frameworks.sklearn.converters import trees_graph
from mlflow_onnx_flavor.onnx_graph.builder import GraphParts
from mlflow_onnx_flavor.onnx_graph.tree_ensemble import Tree, add_vector_sum

_CLASSIFIERS = ("DecisionTree", "ExtraTree", "RandomForest", "ExtraTrees")


def register() -> None:
    """Register this file's converters with skl2onnx."""
    for name in _CLASSIFIERS:
        trees_graph.register(f"Sklearn{name}Classifier", _with_decisions(name, "Classifier"))
        trees_graph.register(f"Sklearn{name}Regressor", _with_decisions(name, "Regressor"))
        trees_graph.register_shapes(f"Sklearn{name}Regressor", _of_several_targets)
    trees_graph.register_shapes("SklearnRandomForestClassifier", _in_float64)
    for kind, converter in (("Classifier", _bagged_classifier), ("Regressor", _bagged_regressor)):
        alias = f"SklearnBagging{kind}"
        trees_graph.register(alias, _for_trees_only(converter, trees_graph.original(alias)))


def _with_decisions(name: str, kind: str) -> Any:
    """Return our converter, which uses skl2onnx's own if its options ask for paths or leaves."""
    own = _classifier if kind == "Classifier" else _regressor
    theirs = trees_graph.original(f"Sklearn{name}{kind}")

    def convert(scope: Any, operator: Any, container: Any) -> None:
        asked = len(operator.outputs) > (2 if kind == "Classifier" else 1)
        (theirs if asked else own)(scope, operator, container)

    return convert


def _classifier(scope: Any, operator: Any, container: Any) -> None:
    from skl2onnx.common.utils_classifier import get_label_classes

    forest = operator.raw_operator
    members = getattr(forest, "estimators_", None) or [forest]
    parts = trees_graph.parts_of(scope)
    rows = trees_graph.float64_rows(parts, operator, rounded=True)
    trees = [trees_graph.sklearn_tree(each, trees_graph.class_fractions(each)) for each in members]
    mean = _mean(parts, rows, trees)
    if forest.n_outputs_ == 1:
        _labels_and_probabilities(parts, mean, operator, get_label_classes(scope, forest))
    else:
        _several_outputs(parts, mean, operator, forest)
    trees_graph.put(parts, container)


def _labels_and_probabilities(
    parts: GraphParts, probabilities: str, operator: Any, classes: Any
) -> None:
    label, scores = operator.outputs
    best = parts.add("ArgMax", probabilities, axis=1, keepdims=0)
    parts.label_of(best, classes, output=label.full_name)
    trees_graph.result(parts, probabilities, scores)


def _several_outputs(parts: GraphParts, mean: str, operator: Any, forest: Any) -> None:
    """Write labels of shape (rows, outputs) and probabilities of shape (outputs, rows, classes).

    scikit-learn pads outputs with fewer classes with zeros, at the end.
    """
    label, scores = operator.outputs
    width = max(len(each) for each in forest.classes_)
    shape = parts.constant([-1, forest.n_outputs_, width], np.int64)
    by_output = parts.add("Transpose", parts.add("Reshape", mean, shape), perm=[1, 0, 2])
    labels = []
    for position, classes in enumerate(forest.classes_):
        own = parts.add("Gather", by_output, parts.constant(position, np.int64), axis=0)
        best = parts.add("ArgMax", own, axis=1, keepdims=1)
        labels.append(parts.label_of(best, classes))
    parts.add("Concat", *labels, output=label.full_name, axis=1)
    trees_graph.result(parts, by_output, scores)


def _regressor(scope: Any, operator: Any, container: Any) -> None:
    forest = operator.raw_operator
    members = getattr(forest, "estimators_", None) or [forest]
    parts = trees_graph.parts_of(scope)
    rows = trees_graph.float64_rows(parts, operator, rounded=True)
    trees = [trees_graph.sklearn_tree(each, each.tree_.value) for each in members]
    trees_graph.result(parts, _mean(parts, rows, trees), operator.outputs[0])
    trees_graph.put(parts, container)


def _mean(parts: GraphParts, rows: str, trees: Sequence[Tree]) -> str:
    """Return the mean, computed as in scikit-learn: the sum first, then one division."""
    total = add_vector_sum(parts, rows, trees)
    if len(trees) == 1:
        return total
    return parts.add("Div", total, parts.constant(len(trees), np.float64))


def _in_float64(calculate: Any) -> Any:
    """Return ``calculate`` with float64 for the probabilities of float64 rows.

    skl2onnx declares float32 probabilities of a forest whatever its input is.
    """
    from skl2onnx.common.data_types import DoubleTensorType

    def calculate_in_float64(operator: Any) -> None:
        calculate(operator)
        if isinstance(operator.inputs[0].type, DoubleTensorType):
            scores = operator.outputs[1]
            scores.set_type(DoubleTensorType(scores.type.shape))

    return calculate_in_float64


def _of_several_targets(calculate: Any) -> Any:
    """Return ``calculate`` with one column per target, where skl2onnx always declares one."""

    def calculate_every_column(operator: Any) -> None:
        calculate(operator)
        answer = operator.outputs[0].type
        answer.shape = [answer.shape[0], operator.raw_operator.n_outputs_]

    return calculate_every_column


def _for_trees_only(own: Any, theirs: Any) -> Any:
    from sklearn.tree import BaseDecisionTree

    def convert(scope: Any, operator: Any, container: Any) -> None:
        bagging = operator.raw_operator
        trees = all(isinstance(each, BaseDecisionTree) for each in bagging.estimators_)
        single = all(getattr(each, "n_outputs_", 1) == 1 for each in bagging.estimators_)
        (own if trees and single else theirs)(scope, operator, container)

    return convert


def _bagged_classifier(scope: Any, operator: Any, container: Any) -> None:
    from skl2onnx.common.utils_classifier import get_label_classes

    bagging = operator.raw_operator
    parts = trees_graph.parts_of(scope)
    rows = trees_graph.float64_rows(parts, operator, rounded=True)
    trees = []
    for estimator, features in zip(bagging.estimators_, bagging.estimators_features_, strict=True):
        # A tree whose sample lacked a class knows fewer; its classes are positions among all.
        values = np.zeros((estimator.tree_.node_count, len(bagging.classes_)))
        values[:, estimator.classes_.astype(int)] = trees_graph.class_fractions(estimator)[:, 0]
        trees.append(trees_graph.sklearn_tree(estimator, values, features))
    classes = get_label_classes(scope, bagging)
    _labels_and_probabilities(parts, _mean(parts, rows, trees), operator, classes)
    trees_graph.put(parts, container)


def _bagged_regressor(scope: Any, operator: Any, container: Any) -> None:
    bagging = operator.raw_operator
    parts = trees_graph.parts_of(scope)
    rows = trees_graph.float64_rows(parts, operator, rounded=True)
    trees = [
        trees_graph.sklearn_tree(each, each.tree_.value, features)
        for each, features in zip(bagging.estimators_, bagging.estimators_features_, strict=True)
    ]
    trees_graph.result(parts, _mean(parts, rows, trees), operator.outputs[0])
    trees_graph.put(parts, container)
