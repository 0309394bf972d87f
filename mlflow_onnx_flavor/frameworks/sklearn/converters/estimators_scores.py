"""The `decision_function` of estimators that others rank, calibrate or stack.

With two classes it is one column, the score of the second class; with more, one column per class.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from mlflow_onnx_flavor.errors import NotExportableError
from mlflow_onnx_flavor.frameworks.sklearn.converters.estimators_graph import (
    REGRESSOR,
    Combination,
    asked,
    declared,
)
from mlflow_onnx_flavor.frameworks.sklearn.converters.transformers_graph import Rows

# A function that declares the scores of an estimator on variables and returns the variable.
Parser = Callable[[Any, Any, Sequence[Any]], Any]

# Class -> the function that declares its scores; `take_scores` adds to it.
_parsers: dict[type, Parser] = {}
# Estimators whose converters give their decision_function if the option "raw_scores" is set.
_RAW_SCORES = (
    "GradientBoostingClassifier",
    "HistGradientBoostingClassifier",
    "LGBMClassifier",
    "NuSVC",
    "SVC",
)


def register() -> None:
    """Register the score parsers of this file's classes."""
    from sklearn import ensemble, semi_supervised

    take_scores(
        {
            ensemble.AdaBoostClassifier: _boosted,
            ensemble.BaggingClassifier: _bagged,
            semi_supervised.SelfTrainingClassifier: _of("estimator_"),
        }
    )


def take_scores(parsers: dict[type, Parser]) -> None:
    """Register ``parsers`` for the scores of their classes."""
    _parsers.update(parsers)


def written(write: Callable[[Rows, Any, str], str]) -> Parser:
    """Return a parser of scores that ``write(rows, model, matrix)`` gives, one column per class."""

    def parse(scope: Any, estimator: Any, inputs: Sequence[Any]) -> Any:
        count = len(estimator.classes_)

        def scores(rows: Rows, model: Any, values: list[str]) -> str:
            found = write(rows, model, rows.joined(values))
            if count > 2:
                return found
            return rows.op("Sub", rows.columns(found, [1]), rows.columns(found, [0]))

        return _declared(scope, inputs, estimator, scores, count)

    return parse


def scores_of(scope: Any, estimator: Any, inputs: Sequence[Any]) -> Any:
    """Declare the scores of an estimator, which may be the last step of a pipeline."""
    from skl2onnx._parse import _parse_sklearn
    from sklearn.pipeline import Pipeline

    if hasattr(estimator, "best_estimator_"):
        return scores_of(scope, estimator.best_estimator_, inputs)
    if not isinstance(estimator, Pipeline):
        return _own(scope, estimator, inputs)
    before = estimator[:-1]
    given = _parse_sklearn(scope, before, list(inputs)) if before.steps else inputs
    return scores_of(scope, estimator[-1], given)


def by_method(scope: Any, estimator: Any, inputs: Sequence[Any], method: str) -> Any:
    """Declare the output of ``estimator``'s ``method``, which may be "decision_function"."""
    if method == "decision_function":
        return scores_of(scope, estimator, inputs)
    return asked(scope, estimator, inputs, method)


def _own(scope: Any, estimator: Any, inputs: Sequence[Any]) -> Any:
    kind = type(estimator)
    if kind in _parsers:
        return _parsers[kind](scope, estimator, inputs)
    if kind.__name__ == "_ConstantPredictor":  # for a code that is the same for every class
        return _declared(scope, inputs[:1], estimator, _constant, 2)
    if _is_linear(kind):
        return _declared(scope, inputs, estimator, _linear, len(estimator.classes_))
    if kind.__name__ in _RAW_SCORES:
        return _raw(scope, estimator, inputs)
    raise NotExportableError(
        f"{kind.__name__} is ranked by its decision_function, which has no ONNX form here; use an"
        " estimator that is linear, of trees or an SVC, or one that has probabilities alone"
    )


def _declared(
    scope: Any,
    inputs: Sequence[Any],
    estimator: Any,
    scores: Callable[[Rows, Any, list[str]], str],
    classes: int,
) -> Any:
    width = 1 if classes == 2 else classes
    return declared(scope, inputs, Combination(estimator, REGRESSOR, scores, width))[0]


def _is_linear(kind: type) -> bool:
    from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
    from sklearn.linear_model._base import LinearClassifierMixin

    own = getattr(kind, "decision_function", None)
    return own is LinearClassifierMixin.decision_function or kind is LinearDiscriminantAnalysis


def _raw(scope: Any, estimator: Any, inputs: Sequence[Any]) -> Any:
    """Declare the scores that a converter gives in place of probabilities.

    With two classes the converter gives both columns.
    """
    from skl2onnx._parse import _parse_sklearn

    # Options are kept by identity, and the estimator's probabilities may be needed as well.
    twin = copy.copy(estimator)
    scope.add_options(id(twin), {"raw_scores": True, "zipmap": False})
    found = _parse_sklearn(scope, twin, list(inputs))
    count = len(estimator.classes_)

    def scores(rows: Rows, model: Any, values: list[str]) -> str:
        return rows.columns(values[0], [1]) if count == 2 else values[0]

    return _declared(scope, [found[1]], estimator, scores, count)


def linear_scores(rows: Rows, model: Any, matrix: str) -> str:
    """Return the ``decision_function`` of a linear classifier."""
    product = rows.op("MatMul", matrix, np.atleast_2d(model.coef_).T)
    return rows.op("Add", product, np.ravel(model.intercept_))


def _linear(rows: Rows, model: Any, values: list[str]) -> str:
    return linear_scores(rows, model, rows.joined(values))


def _constant(rows: Rows, model: Any, values: list[str]) -> str:
    column = rows.columns(values[0], [0])
    # Subtracting the column from itself would give NaN for infinite values.
    zero = rows.truth(rows.add("Not", rows.op("Equal", column, column)))
    zero = rows.op("Mul", zero, 0.0)
    return rows.op("Add", zero, float(model.decision_function(np.zeros((1, 1)))[0]))


def _of(attribute: str) -> Parser:
    def parse(scope: Any, estimator: Any, inputs: Sequence[Any]) -> Any:
        return scores_of(scope, getattr(estimator, attribute), inputs)

    return parse


def _boosted(scope: Any, estimator: Any, inputs: Sequence[Any]) -> Any:
    """Declare the votes of AdaBoost's estimators.

    An estimator's weight counts for the class that it predicts; the negative of it, divided by the
    number of the other classes, counts for each of those.
    """
    classes, weights = estimator.classes_, estimator.estimator_weights_
    parts = [asked(scope, each, inputs) for each in estimator.estimators_]
    against = -1.0 / (len(classes) - 1)

    def scores(rows: Rows, model: Any, values: list[str]) -> str:
        total = ""
        for value, weight in zip(values, weights, strict=False):
            column = rows.reshape(value, -1, 1)
            chosen = _is_one_of(rows, column, classes)
            part = rows.op("Where", chosen, float(weight), float(weight) * against)
            total = rows.op("Add", total, part) if total else part
        total = rows.op("Div", total, float(np.sum(weights)))
        if len(classes) > 2:
            return total
        return rows.op("Sub", rows.columns(total, [1]), rows.columns(total, [0]))

    return _declared(scope, parts, estimator, scores, len(classes))


def _is_one_of(rows: Rows, column: str, classes: np.ndarray) -> str:
    """Return a mask of each label's class among ``classes``, shape (rows, classes)."""
    if classes.dtype.kind in "OUS":
        return rows.add("Equal", column, rows.constant([[str(each) for each in classes]]))
    return rows.op("Equal", column, classes.astype(np.float64)[None, :])


def _bagged(scope: Any, estimator: Any, inputs: Sequence[Any]) -> Any:
    """Declare the mean of the scores of a bag's estimators, each on its own columns."""
    count = len(estimator.classes_)
    parts = [
        scores_of(scope, each, _chosen(scope, estimator, inputs, columns))
        for each, columns in zip(estimator.estimators_, estimator.estimators_features_, strict=True)
    ]

    def mean(rows: Rows, model: Any, values: list[str]) -> str:
        total = values[0]
        for each in values[1:]:
            total = rows.op("Add", total, each)
        return rows.op("Div", total, float(len(values)))

    return _declared(scope, parts, estimator, mean, count)


def _chosen(scope: Any, bag: Any, inputs: Sequence[Any], columns: np.ndarray) -> Sequence[Any]:
    if np.array_equal(columns, np.arange(bag.n_features_in_)):
        return inputs

    def pick(rows: Rows, model: Any, values: list[str]) -> str:
        return rows.columns(rows.joined(values), columns)

    return declared(scope, inputs, Combination(bag, REGRESSOR, pick, len(columns)))
