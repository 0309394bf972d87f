"""GradientBoosting and AdaBoost over trees: sums of trees and scikit-learn's links."""

from __future__ import annotations

from typing import Any

import numpy as np

from mlflow_onnx_flavor.frameworks.sklearn.converters import trees_graph
from mlflow_onnx_flavor.onnx_graph.builder import GraphParts
from mlflow_onnx_flavor.onnx_graph.tree_ensemble import add_sum, add_vector_sum


def register() -> None:
    """Register this file's converters with skl2onnx."""
    trees_graph.register("SklearnGradientBoostingClassifier", _gradient_boosting_classifier)
    trees_graph.register("SklearnGradientBoostingRegressor", _gradient_boosting_regressor)
    for alias, converter in (
        ("SklearnAdaBoostClassifier", _ada_boost_classifier),
        ("SklearnAdaBoostRegressor", _ada_boost_regressor),
    ):
        trees_graph.register(alias, _for_trees_only(converter, trees_graph.original(alias)))


def _gradient_boosting_regressor(scope: Any, operator: Any, container: Any) -> None:
    parts = trees_graph.parts_of(scope)
    raw = _raw(scope, operator, container, parts)
    trees_graph.result(parts, raw, operator.outputs[0])
    trees_graph.put(parts, container)


def _gradient_boosting_classifier(scope: Any, operator: Any, container: Any) -> None:
    from skl2onnx.common.utils_classifier import get_label_classes

    model = operator.raw_operator
    parts = trees_graph.parts_of(scope)
    raw = _raw(scope, operator, container, parts)
    label, scores = operator.outputs
    binary = model.estimators_.shape[1] == 1
    if binary:
        # The exponential loss halves the logit: p = 1 / (1 + exp(-2 raw)).
        scaled = raw
        if model.loss == "exponential":
            scaled = parts.add("Mul", raw, parts.constant(2.0, np.float64))
        probabilities = two_columns(parts, parts.add("Sigmoid", scaled))
        flat = parts.add("Squeeze", raw, parts.constant([1], np.int64))
        zero = parts.constant(0.0, np.float64)
        best = parts.cast(parts.add("GreaterOrEqual", flat, zero), np.int64)
    else:
        probabilities = parts.add("Softmax", raw, axis=1)
        best = parts.add("ArgMax", raw, axis=1, keepdims=0)
    parts.label_of(best, get_label_classes(scope, model), output=label.full_name)
    wanted = trees_graph.classification_scores(parts, container, model, raw, probabilities)
    trees_graph.result(parts, wanted, scores)
    trees_graph.put(parts, container)


def two_columns(parts: GraphParts, second: str) -> str:
    """Return the probabilities of both classes from the second's, shape (rows, 1)."""
    one = parts.constant(1.0, np.float64)
    return parts.add("Concat", parts.add("Sub", one, second), second, axis=1)


def _raw(scope: Any, operator: Any, container: Any, parts: GraphParts) -> str:
    """Return the raw predictions, (rows, trees of a stage): the initial ones plus all trees."""
    model = operator.raw_operator
    rows = trees_graph.float64_rows(parts, operator, rounded=True)
    trees, targets = [], []
    for stage in model.estimators_:
        for target, estimator in enumerate(stage):
            values = estimator.tree_.value[:, 0, :1] * model.learning_rate
            trees.append(trees_graph.sklearn_tree(estimator, values))
            targets.append(target)
    total = add_sum(parts, rows, trees, targets, model.estimators_.shape[1])
    start = _start(scope, operator, container, parts, rows)
    return total if start is None else parts.add("Add", start, total)


def _start(scope: Any, operator: Any, container: Any, parts: GraphParts, rows: str) -> str | None:
    """Return the initial predictions: nothing, a constant, or those of another estimator."""
    from sklearn.dummy import DummyClassifier, DummyRegressor

    model = operator.raw_operator
    if isinstance(model.init_, str):  # "zero"
        return None
    if isinstance(model.init_, DummyClassifier | DummyRegressor):
        some = np.zeros((1, model.n_features_in_), np.float32)
        return parts.constant(model._raw_predict_init(some), np.float64)
    predicted = _predicted_by(model.init_, scope, operator, hasattr(model, "classes_"))
    predicted = parts.cast(predicted, np.float64)
    if not hasattr(model, "classes_"):
        return parts.add("Reshape", predicted, parts.constant([-1, 1], np.int64))
    return _linked(parts, predicted, model)


def _linked(parts: GraphParts, probabilities: str, model: Any) -> str:
    """Return probabilities as raw predictions; scikit-learn keeps them an epsilon off 0 and 1."""
    epsilon = np.finfo(np.float64).eps
    lowest, highest = (parts.constant(each, np.float64) for each in (epsilon, 1 - epsilon))
    if model.estimators_.shape[1] == 1:
        probabilities = parts.columns(probabilities, [1])
    clipped = parts.add("Clip", probabilities, lowest, highest)
    if model.estimators_.shape[1] > 1:
        logs = parts.add("Log", clipped)
        mean = parts.add("ReduceMean", logs, parts.constant([1], np.int64), keepdims=1)
        return parts.add("Sub", logs, mean)
    rest = parts.add("Sub", parts.constant(1.0, np.float64), clipped)
    logit = parts.add("Log", parts.add("Div", clipped, rest))
    if model.loss != "exponential":
        return logit
    return parts.add("Mul", logit, parts.constant(0.5, np.float64))


def _predicted_by(estimator: Any, scope: Any, operator: Any, classifier: bool) -> str:
    """Return the name of the estimator's probabilities or predictions on the operator's input."""
    from skl2onnx._supported_operators import sklearn_operator_name_map
    from skl2onnx.common.data_types import Int64TensorType, guess_tensor_type

    inner = scope.declare_local_operator(sklearn_operator_name_map[type(estimator)], estimator)
    inner.inputs = operator.inputs
    if classifier:
        inner.outputs.append(scope.declare_local_variable("init_label", Int64TensorType()))
    kind = guess_tensor_type(operator.inputs[0].type)
    inner.outputs.append(scope.declare_local_variable("init_prediction", kind))
    return inner.outputs[-1].full_name


def _for_trees_only(own: Any, theirs: Any) -> Any:
    from sklearn.tree import BaseDecisionTree

    def convert(scope: Any, operator: Any, container: Any) -> None:
        members = operator.raw_operator.estimators_
        trees = all(isinstance(each, BaseDecisionTree) for each in members)
        # scikit-learn before 1.6 also sums logarithms of probabilities in place of votes.
        votes = getattr(operator.raw_operator, "algorithm", "") != "SAMME.R"
        (own if trees and votes else theirs)(scope, operator, container)

    return convert


def _ada_boost_classifier(scope: Any, operator: Any, container: Any) -> None:
    """Convert AdaBoostClassifier: each tree votes with its weight.

    A leaf's vote is known at conversion, so it becomes the leaf's value.
    """
    from skl2onnx.common.utils_classifier import get_label_classes

    model = operator.raw_operator
    count = len(model.classes_)
    weights = model.estimator_weights_[: len(model.estimators_)]
    parts = trees_graph.parts_of(scope)
    rows = trees_graph.float64_rows(parts, operator, rounded=True)
    trees = []
    for estimator, weight in zip(model.estimators_, weights, strict=True):
        voted = estimator.classes_[estimator.tree_.value[:, 0].argmax(axis=1)]
        values = np.where(voted[:, None] == model.classes_, weight, -weight / (count - 1))
        if count == 2:
            values = values[:, 1:] - values[:, :1]
        trees.append(trees_graph.sklearn_tree(estimator, values))
    total = parts.constant(model.estimator_weights_.sum(), np.float64)
    decision = parts.add("Div", add_vector_sum(parts, rows, trees), total)
    label, scores = operator.outputs
    if count == 2:
        flat = parts.add("Squeeze", decision, parts.constant([1], np.int64))
        best = parts.cast(parts.add("Greater", flat, parts.constant(0.0, np.float64)), np.int64)
        halved = parts.add("Div", decision, parts.constant(2.0, np.float64))
        both = parts.add("Concat", parts.add("Neg", halved), halved, axis=1)
    else:
        best = parts.add("ArgMax", decision, axis=1, keepdims=0)
        both = parts.add("Div", decision, parts.constant(count - 1, np.float64))
    parts.label_of(best, get_label_classes(scope, model), output=label.full_name)
    probabilities = parts.add("Softmax", both, axis=1)
    wanted = trees_graph.classification_scores(parts, container, model, decision, probabilities)
    trees_graph.result(parts, wanted, scores)
    trees_graph.put(parts, container)


def _ada_boost_regressor(scope: Any, operator: Any, container: Any) -> None:
    """Convert AdaBoostRegressor, whose prediction is the weighted median of its trees.

    The median is the first prediction, in ascending order, at which half of the weight is reached.
    """
    model = operator.raw_operator
    count = len(model.estimators_)
    parts = trees_graph.parts_of(scope)
    rows = trees_graph.float64_rows(parts, operator, rounded=True)
    trees = [trees_graph.sklearn_tree(each, each.tree_.value) for each in model.estimators_]
    each_tree = add_sum(parts, rows, trees, range(count), count)
    ascending, order = parts.sorted_rows(each_tree, count)
    weights = parts.constant(model.estimator_weights_[:count], np.float64)
    reached = parts.add("CumSum", parts.add("Gather", weights, order), parts.constant(1, np.int64))
    whole = parts.columns(reached, [count - 1])
    half = parts.add("Mul", whole, parts.constant(0.5, np.float64))
    enough = parts.cast(parts.add("GreaterOrEqual", reached, half), np.int64)
    first = parts.add("ArgMax", enough, axis=1, keepdims=1)
    median = parts.add("GatherElements", ascending, first, axis=1)
    trees_graph.result(parts, median, operator.outputs[0])
    trees_graph.put(parts, container)
