"""Calibrations, stacks and others around estimators, which may select their columns by name.

skl2onnx gives such an estimator one matrix, and converts some of them wrongly.  Here the inner
estimators are declared first, on all inputs as they are, and then their answers are combined.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from mlflow_onnx_flavor.errors import NotExportableError
from mlflow_onnx_flavor.frameworks.sklearn.converters.estimators_graph import (
    CLASSIFIER,
    LABELS,
    REGRESSOR,
    Classified,
    Combination,
    asked,
    declared,
    positions_of_largest,
)
from mlflow_onnx_flavor.frameworks.sklearn.converters.estimators_linear import interpolated
from mlflow_onnx_flavor.frameworks.sklearn.converters.estimators_meta import (
    binary_score,
    one_column,
)
from mlflow_onnx_flavor.frameworks.sklearn.converters.estimators_scores import (
    by_method,
    scores_of,
    take_scores,
)
from mlflow_onnx_flavor.frameworks.sklearn.converters.transformers_graph import Rows, is_type

Parsed = tuple[list[Any], Combination]

_TEMPERATURE = "temperature"  # a calibration method since scikit-learn 1.8
_LEAST_PROBABILITY = 1e-12  # scikit-learn adds it before it takes the logarithm


def register() -> None:
    """Register this file's parsers with skl2onnx."""
    from sklearn import calibration, ensemble, multiclass, multioutput

    _take(calibration.CalibratedClassifierCV, _parse_calibrated)
    _take(ensemble.StackingClassifier, _parse_stacked_classifier)
    _take(ensemble.StackingRegressor, _parse_stacked_regressor)
    _take(multiclass.OneVsRestClassifier, _parse_one_vs_rest)
    _take(multioutput.MultiOutputRegressor, _side_by_side(REGRESSOR))
    _take(multioutput.MultiOutputClassifier, _side_by_side(LABELS))
    take_scores(
        {
            ensemble.StackingClassifier: _stacked_scores,
            multiclass.OneVsRestClassifier: _one_vs_rest_scores,
        }
    )


def _take(estimator: type, parser: Callable[[Any, Any, Any], Any]) -> None:
    from skl2onnx import _parse

    def parse(scope: Any, model: Any, inputs: Any, custom_parsers: Any = None) -> list[Any]:
        answer = parser(scope, model, inputs)
        return declared(scope, *answer) if isinstance(answer, tuple) else answer

    _parse.update_registered_parser(estimator, parse)


def _parse_calibrated(scope: Any, model: Any, inputs: Any) -> Parsed:
    members = model.calibrated_classifiers_
    scores = [binary_score(scope, each.estimator, inputs) for each in members]

    def decide(rows: Rows, model: Any, values: list[str]) -> Classified:
        total = ""
        for each, value, (_, are_probabilities) in zip(members, values, scores, strict=True):
            part = _calibrated(rows, model, each, value, are_probabilities)
            total = rows.op("Add", total, part) if total else part
        mean = rows.op("Div", total, float(len(members)))
        return positions_of_largest(rows, mean), mean

    return [variable for variable, _ in scores], Combination(model, CLASSIFIER, decide)


def _calibrated(rows: Rows, model: Any, member: Any, value: str, are_probabilities: bool) -> str:
    """Return the probabilities of one calibrated classifier, shape (rows, classes)."""
    if member.method == _TEMPERATURE:
        return _tempered(rows, model, member, value, are_probabilities)
    count, calibrate = len(model.classes_), _CALIBRATIONS[member.method]
    if count == 2:
        score = one_column(rows, value, are_probabilities)
        second = calibrate(rows, member.calibrators[0], score)
        return rows.joined([rows.op("Sub", 1.0, second), second])
    columns = [
        calibrate(rows, calibrator, rows.columns(value, [number]))
        for number, calibrator in enumerate(member.calibrators)
    ]
    # The classifier may not have seen every class: an unseen one has a probability of 0.
    places = np.searchsorted(model.classes_, member.estimator.classes_)
    found = rows.op("MatMul", rows.joined(columns), np.eye(count)[places])
    whole = rows.reduce("ReduceSum", found)
    nothing = rows.op("Equal", whole, 0.0)
    share = rows.op("Div", found, rows.op("Where", nothing, 1.0, whole))
    return rows.op("Where", nothing, 1.0 / count, share)


def _tempered(rows: Rows, model: Any, member: Any, value: str, are_probabilities: bool) -> str:
    """Return the softmax of the scores, or of the log-probabilities, over the temperature."""
    if are_probabilities:
        logits = rows.add("Log", rows.op("Add", value, _LEAST_PROBABILITY))
    elif len(model.classes_) == 2:
        score = one_column(rows, value, False)
        logits = rows.joined([rows.add("Neg", score), score])
    else:
        logits = value
    beta = float(member.calibrators[0].beta_)
    return rows.add("Softmax", rows.op("Mul", logits, beta), axis=1)


def _sigmoid(rows: Rows, calibrator: Any, score: str) -> str:
    moved = rows.op("Add", rows.op("Mul", score, float(calibrator.a_)), float(calibrator.b_))
    return rows.add("Sigmoid", rows.add("Neg", moved))


_CALIBRATIONS: dict[str, Callable[[Rows, Any, str], str]] = {
    "sigmoid": _sigmoid,
    "isotonic": interpolated,
}


def _stacked(scope: Any, model: Any, inputs: Any) -> Any:
    """Declare the last estimator's input: the answers of the others side by side, then the rows."""
    passed = list(inputs) if model.passthrough else []
    if any(is_type(each, "StringTensorType") for each in passed):
        raise NotExportableError(
            f"{type(model).__name__} with passthrough=True would pass on text; leave passthrough"
            " out, or put the encoder of the text before it, in one pipeline"
        )
    methods = model.stack_method_
    parts = [
        by_method(scope, each, inputs, method)
        for each, method in zip(model.estimators_, methods, strict=True)
    ]
    of_two = len(getattr(model, "classes_", ())) == 2

    def join(rows: Rows, model: Any, values: list[str]) -> str:
        columns = []
        for value, method in zip(values, methods, strict=False):
            if method == "predict_proba":
                columns.append(rows.columns(value, [1]) if of_two else value)
            else:
                is_wide = method == "decision_function" and not of_two
                columns.append(value if is_wide else rows.reshape(value, -1, 1))
        return rows.joined(columns + values[len(methods) :])

    width = int(model.final_estimator_.n_features_in_)
    return declared(scope, parts + passed, Combination(model, REGRESSOR, join, width))[0]


def _parse_stacked_regressor(scope: Any, model: Any, inputs: Any) -> list[Any]:
    return [asked(scope, model.final_estimator_, [_stacked(scope, model, inputs)])]


def _parse_stacked_classifier(scope: Any, model: Any, inputs: Any) -> Parsed:
    if isinstance(model.classes_, list):
        raise NotExportableError(
            "StackingClassifier of several outputs has no ONNX form here; fit one for each output"
        )
    final, joined = model.final_estimator_, _stacked(scope, model, inputs)
    parts = [asked(scope, final, [joined])]
    has_probabilities = hasattr(model, "predict_proba")
    if has_probabilities:
        parts.append(asked(scope, final, [joined], "predict_proba"))

    def decide(rows: Rows, model: Any, values: list[str]) -> Classified:
        """Return the positions of the classes, on which the last estimator was fitted."""
        positions = rows.reshape(rows.cast(values[0], np.int64), -1)
        return positions, values[1] if has_probabilities else ""

    return parts, Combination(model, CLASSIFIER, decide)


def _stacked_scores(scope: Any, model: Any, inputs: Any) -> Any:
    return scores_of(scope, model.final_estimator_, [_stacked(scope, model, inputs)])


def _parse_one_vs_rest(scope: Any, model: Any, inputs: Any) -> Any:
    from sklearn.multiclass import _threshold_for_binary_predict

    if model.multilabel_:
        return _several_labels(scope, model, inputs)
    scores = [binary_score(scope, each, inputs) for each in model.estimators_]
    parts = [variable for variable, _ in scores]
    has_probabilities = hasattr(model, "predict_proba")
    if has_probabilities:
        parts += [asked(scope, each, inputs, "predict_proba") for each in model.estimators_]
    count = len(scores)

    def decide(rows: Rows, model: Any, values: list[str]) -> Classified:
        columns = [
            one_column(rows, value, are_probabilities)
            for value, (_, are_probabilities) in zip(values[:count], scores, strict=True)
        ]
        if count == 1:
            least = float(_threshold_for_binary_predict(model.estimators_[0]))
            above = rows.cast(rows.op("Greater", columns[0], least), np.int64)
            positions = rows.reshape(above, -1)
        else:
            positions = positions_of_largest(rows, rows.joined(columns))
        return positions, _shares(rows, values[count:]) if has_probabilities else ""

    return parts, Combination(model, CLASSIFIER, decide)


def _one_vs_rest_scores(scope: Any, model: Any, inputs: Any) -> Any:
    parts = [scores_of(scope, each, inputs) for each in model.estimators_]

    def join(rows: Rows, model: Any, values: list[str]) -> str:
        return rows.joined([rows.reshape(each, -1, 1) for each in values])

    return declared(scope, parts, Combination(model, REGRESSOR, join, len(parts)))[0]


def _several_labels(scope: Any, model: Any, inputs: Any) -> list[Any]:
    """Declare a multi-label answer: each label as true or false, and its probability."""
    found = declared(scope, *_side_by_side(LABELS)(scope, model, inputs))
    if not hasattr(model, "predict_proba"):
        return found
    parts = [asked(scope, each, inputs, "predict_proba") for each in model.estimators_]

    def second(rows: Rows, model: Any, values: list[str]) -> str:
        return rows.joined([rows.columns(each, [1]) for each in values])

    return found + declared(scope, parts, Combination(model, REGRESSOR, second, len(parts)))


def _shares(rows: Rows, probabilities: list[str]) -> str:
    """Return the probability of each class against the rest, as a share of their sum."""
    own = rows.joined([rows.columns(each, [1]) for each in probabilities])
    if len(probabilities) == 1:
        own = rows.joined([rows.op("Sub", 1.0, own), own])
    whole = rows.reduce("ReduceSum", own)
    return rows.op("Div", own, rows.op("Where", rows.op("Equal", whole, 0.0), 1.0, whole))


def _side_by_side(kind: str) -> Callable[[Any, Any, Any], Parsed]:
    """Return a parser that joins the estimators' predictions, one column each, as a ``kind``."""

    def join(rows: Rows, model: Any, values: list[str]) -> str:
        return rows.joined([rows.reshape(each, -1, 1) for each in values])

    def parse(scope: Any, model: Any, inputs: Any) -> Parsed:
        parts = [asked(scope, each, inputs) for each in model.estimators_]
        return parts, Combination(model, kind, join, len(parts))

    return parse
