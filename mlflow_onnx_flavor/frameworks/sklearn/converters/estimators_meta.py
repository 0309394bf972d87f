"""Estimators made of others: votes, codes, thresholds, searches and self-training."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from mlflow_onnx_flavor.errors import NotExportableError
from mlflow_onnx_flavor.frameworks.sklearn.converters.estimators_graph import (
    CLASSIFIER,
    REGRESSOR,
    Classified,
    Combination,
    asked,
    declared,
    positions_of_largest,
    take_combined,
    without_maps,
)
from mlflow_onnx_flavor.frameworks.sklearn.converters.estimators_scores import (
    by_method,
    scores_of,
    take_scores,
)
from mlflow_onnx_flavor.frameworks.sklearn.converters.transformers_graph import Rows
from mlflow_onnx_flavor.frameworks.sklearn.converters.transformers_graph import parse as transform

Parsed = tuple[list[Any], Combination]


def register() -> None:
    """Register this file's parsers with skl2onnx."""
    from sklearn import ensemble, feature_selection, model_selection, multiclass, semi_supervised

    take_combined(
        CLASSIFIER,
        {
            ensemble.VotingClassifier: _parse_votes,
            multiclass.OneVsOneClassifier: _parse_one_vs_one,
            multiclass.OutputCodeClassifier: _parse_codes,
            semi_supervised.SelfTrainingClassifier: _delegate("estimator_"),
        },
    )
    # A selector of columns that predicts answers as its estimator does on these columns.
    selecting = (feature_selection.RFE, feature_selection.RFECV)
    take_combined(CLASSIFIER, dict.fromkeys(selecting, _parse_selected))
    take_scores(dict.fromkeys(selecting, _selected_scores))
    take_scores({multiclass.OneVsOneClassifier: _one_vs_one_scores})
    take_combined(REGRESSOR, {ensemble.VotingRegressor: _parse_mean})
    # A search answers as its best estimator does, whatever its kind.
    take_combined(CLASSIFIER, dict.fromkeys(_searches(), _delegate("best_estimator_")))
    if hasattr(model_selection, "FixedThresholdClassifier"):  # since scikit-learn 1.5
        take_combined(
            CLASSIFIER,
            {
                model_selection.FixedThresholdClassifier: _parse_threshold,
                model_selection.TunedThresholdClassifierCV: _parse_threshold,
            },
        )
        take_scores(
            {
                model_selection.FixedThresholdClassifier: _scores_behind_threshold,
                model_selection.TunedThresholdClassifierCV: _scores_behind_threshold,
            }
        )


def _searches() -> list[type]:
    """Return the classes of searches; scikit-learn hides those that it calls experimental."""
    from sklearn.model_selection import GridSearchCV, RandomizedSearchCV
    from sklearn.model_selection._search_successive_halving import (
        HalvingGridSearchCV,
        HalvingRandomSearchCV,
    )

    return [GridSearchCV, RandomizedSearchCV, HalvingGridSearchCV, HalvingRandomSearchCV]


def _delegate(attribute: str) -> Any:
    def parse(scope: Any, model: Any, inputs: Any) -> list[Any]:
        from skl2onnx._parse import _parse_sklearn

        estimator = getattr(model, attribute)
        without_maps(scope, estimator)
        return list(_parse_sklearn(scope, estimator, list(inputs)))

    return parse


def _parse_selected(scope: Any, model: Any, inputs: Any) -> list[Any]:
    return _delegate("estimator_")(scope, model, transform(scope, model, inputs))


def _selected_scores(scope: Any, model: Any, inputs: Any) -> Any:
    return scores_of(scope, model.estimator_, transform(scope, model, inputs))


def _weights(model: Any) -> np.ndarray:
    """Return the weights of the estimators that are not dropped; their sum is 1."""
    given = model._weights_not_none
    weights = np.ones(len(model.estimators_)) if given is None else np.asarray(given, float)
    return weights / weights.sum()


def _parse_mean(scope: Any, model: Any, inputs: Any) -> Parsed:
    parts = [asked(scope, each, inputs) for each in model.estimators_]

    def mean(rows: Rows, model: Any, values: list[str]) -> str:
        columns = rows.joined([rows.reshape(each, -1, 1) for each in values])
        return rows.op("MatMul", columns, _weights(model).reshape(-1, 1))

    return parts, Combination(model, REGRESSOR, mean)


def _parse_votes(scope: Any, model: Any, inputs: Any) -> Parsed:
    if isinstance(model.classes_, list):
        raise NotExportableError(
            "VotingClassifier of several outputs has no ONNX form here; fit one for each output"
        )
    method = "predict_proba" if model.voting == "soft" else "predict"
    parts = [asked(scope, each, inputs, method) for each in model.estimators_]
    return parts, Combination(model, CLASSIFIER, _soft if model.voting == "soft" else _hard)


def _soft(rows: Rows, model: Any, values: list[str]) -> Classified:
    total = ""
    for each, weight in zip(values, _weights(model), strict=True):
        part = rows.op("Mul", each, float(weight))
        total = rows.op("Add", total, part) if total else part
    return positions_of_largest(rows, total), total


def _hard(rows: Rows, model: Any, values: list[str]) -> Classified:
    """Return the class with most votes; the estimators answer with positions of classes."""
    count, total = len(model.classes_), ""
    weights = _weights(model) * len(values)
    for each, weight in zip(values, weights, strict=True):
        chosen = rows.truth(rows.op("Equal", rows.reshape(each, -1, 1), np.arange(count)[None, :]))
        part = rows.op("Mul", chosen, float(weight))
        total = rows.op("Add", total, part) if total else part
    return positions_of_largest(rows, total), ""


def binary_score(scope: Any, estimator: Any, inputs: Any) -> tuple[Any, bool]:
    """Declare the score by which scikit-learn ranks an estimator's classes.

    The second result is True if the scores are probabilities.
    """
    from sklearn.base import is_regressor

    if is_regressor(estimator):
        return asked(scope, estimator, inputs), False
    if hasattr(estimator, "decision_function"):
        return scores_of(scope, estimator, inputs), False
    return asked(scope, estimator, inputs, "predict_proba"), True


def one_column(rows: Rows, value: str, probabilities: bool) -> str:
    """Return the `binary_score` of the second of two classes, shape (rows, 1)."""
    return rows.columns(value, [1]) if probabilities else rows.reshape(value, -1, 1)


def _parse_one_vs_one(scope: Any, model: Any, inputs: Any) -> Parsed:
    parts, confidences_of = _pairs(scope, model, inputs)
    count = len(model.estimators_)

    def decide(rows: Rows, model: Any, values: list[str]) -> Classified:
        confidences = confidences_of(rows, values)
        if len(model.classes_) == 2 and count == 1:
            return _second_of_two(rows, model, confidences[0], values[1]), ""
        return _ovo_positions(rows, model, confidences, values[count:]), ""

    return parts, Combination(model, CLASSIFIER, decide)


def _one_vs_one_scores(scope: Any, model: Any, inputs: Any) -> Any:
    parts, confidences_of = _pairs(scope, model, inputs)
    count, classes = len(model.estimators_), len(model.classes_)

    def decide(rows: Rows, model: Any, values: list[str]) -> str:
        found = _ovo_scores(rows, classes, confidences_of(rows, values), values[count:])
        return rows.columns(found, [1]) if classes == 2 else found

    width = 1 if classes == 2 else classes
    return declared(scope, parts, Combination(model, REGRESSOR, decide, width))[0]


def _pairs(
    scope: Any, model: Any, inputs: Any
) -> tuple[list[Any], Callable[[Rows, list[str]], list[str]]]:
    """Declare the scores of each pair's estimator, then their labels.

    The second result is a function that reads the scores as confidences.
    """
    if model.pairwise_indices_ is not None:
        raise NotExportableError(
            "OneVsOneClassifier on precomputed kernels has no ONNX form; fit it on the rows"
        )
    scores = [binary_score(scope, each, inputs) for each in model.estimators_]
    labels = [asked(scope, each, inputs) for each in model.estimators_]

    def confidences_of(rows: Rows, values: list[str]) -> list[str]:
        return [
            one_column(rows, value, probabilities)
            for value, (_, probabilities) in zip(values, scores, strict=False)
        ]

    return [each for each, _ in scores] + labels, confidences_of


def _second_of_two(rows: Rows, model: Any, confidence: str, label: str) -> str:
    """Return the position of one of two classes, by comparing a score with a threshold.

    Like scikit-learn's, the score combines the second class's votes and confidence.
    """
    from sklearn.multiclass import _threshold_for_binary_predict

    scores = _ovo_scores(rows, 2, [confidence], [label])
    threshold = float(_threshold_for_binary_predict(model.estimators_[0]))
    above = rows.op("Greater", rows.columns(scores, [1]), threshold)
    return rows.reshape(rows.cast(above, np.int64), -1)


def _ovo_positions(rows: Rows, model: Any, confidences: list[str], labels: list[str]) -> str:
    return positions_of_largest(rows, _ovo_scores(rows, len(model.classes_), confidences, labels))


def _ovo_scores(rows: Rows, count: int, confidences: list[str], labels: list[str]) -> str:
    """Return the votes of the pairs; confidences, squeezed into (-1/3, 1/3), break ties."""
    pairs = [(low, high) for low in range(count) for high in range(low + 1, count)]
    signs = np.zeros((len(pairs), count))
    for number, (low, high) in enumerate(pairs):
        signs[number, [low, high]] = -1.0, 1.0
    sums = rows.op("MatMul", rows.joined(confidences), signs)
    chosen = rows.joined([rows.reshape(each, -1, 1) for each in labels])
    votes = rows.op("MatMul", chosen, (signs > 0).astype(float))
    votes = rows.op(
        "Add", votes, rows.op("MatMul", rows.op("Sub", 1.0, chosen), (signs < 0).astype(float))
    )
    squeezed = rows.op("Mul", rows.op("Add", rows.add("Abs", sums), 1.0), 3.0)
    return rows.op("Add", votes, rows.op("Div", sums, squeezed))


def _parse_codes(scope: Any, model: Any, inputs: Any) -> Parsed:
    scores = [binary_score(scope, each, inputs) for each in model.estimators_]

    def decide(rows: Rows, model: Any, values: list[str]) -> Classified:
        from mlflow_onnx_flavor.frameworks.sklearn.converters.transformers_distances import (
            distances,
        )

        columns = [
            one_column(rows, value, probabilities)
            for value, (_, probabilities) in zip(values, scores, strict=True)
        ]
        far = distances(rows, rows.joined(columns), model.code_book_, "sqeuclidean")
        return rows.add("ArgMin", far, axis=1, keepdims=0), ""

    return [each for each, _ in scores], Combination(model, CLASSIFIER, decide)


def _parse_threshold(scope: Any, model: Any, inputs: Any) -> Parsed:
    estimator = getattr(model, "estimator_", model.estimator)
    method = model._get_response_method()
    names = method if isinstance(method, list | tuple) else [method]
    chosen = next(each for each in names if hasattr(estimator, each))
    parts = [by_method(scope, estimator, inputs, chosen)]
    if hasattr(model, "predict_proba") and chosen != "predict_proba":
        parts.append(asked(scope, estimator, inputs, "predict_proba"))

    def decide(rows: Rows, model: Any, values: list[str]) -> Classified:
        positive = _positive(model)
        if chosen == "predict_proba":
            score = rows.columns(values[0], [positive])
        else:
            score = rows.op("Mul", rows.reshape(values[0], -1, 1), 1.0 if positive else -1.0)
        reached = rows.op("GreaterOrEqual", score, _threshold(model, chosen))
        number = rows.cast(reached, np.int64)
        if not positive:
            number = rows.add("Sub", rows.whole([[1]]), number)
        return rows.reshape(number, -1), values[-1] if hasattr(model, "predict_proba") else ""

    return parts, Combination(model, CLASSIFIER, decide)


def _scores_behind_threshold(scope: Any, model: Any, inputs: Any) -> Any:
    return scores_of(scope, getattr(model, "estimator_", model.estimator), inputs)


def _threshold(model: Any, method: str) -> float:
    if hasattr(model, "best_threshold_"):
        return float(model.best_threshold_)
    if model.threshold == "auto":
        return 0.5 if method == "predict_proba" else 0.0
    return float(model.threshold)


def _positive(model: Any) -> int:
    """Return the position of the class that the threshold is for, by default the second."""
    label = model.pos_label if hasattr(model, "pos_label") else None
    if label is None and hasattr(model, "_curve_scorer"):
        label = model._curve_scorer._get_pos_label()
    if label is None:
        return 1
    return int(np.flatnonzero(np.asarray(model.classes_) == label)[0])
