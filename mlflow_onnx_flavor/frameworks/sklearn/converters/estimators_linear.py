"""Constant, linear and quadratic estimators: dummies, discriminants, isotonic and others."""

from __future__ import annotations

from typing import Any

import numpy as np

from mlflow_onnx_flavor.errors import NotExportableError
from mlflow_onnx_flavor.frameworks.sklearn.converters.estimators_graph import (
    CLASSIFIER,
    REGRESSOR,
    Classified,
    Combination,
    Rule,
    declared,
    positions_of_largest,
    take,
)
from mlflow_onnx_flavor.frameworks.sklearn.converters.estimators_scores import (
    linear_scores,
    take_scores,
    written,
)
from mlflow_onnx_flavor.frameworks.sklearn.converters.transformers_graph import Rows


def register() -> None:
    """Register this file's converters with skl2onnx."""
    from skl2onnx import _parse
    from sklearn import cross_decomposition, discriminant_analysis, dummy, isotonic, linear_model

    take(
        CLASSIFIER,
        {
            dummy.DummyClassifier: Rule(_dummy_classes),
            discriminant_analysis.QuadraticDiscriminantAnalysis: Rule(_quadratic),
            discriminant_analysis.LinearDiscriminantAnalysis: Rule(_discriminated),
        },
    )
    _parse.update_registered_parser(linear_model.SGDClassifier, _parse_descended)
    take_scores({discriminant_analysis.QuadraticDiscriminantAnalysis: written(_quadratic_scores)})
    take(
        REGRESSOR,
        {
            cross_decomposition.CCA: Rule(_decomposed),
            cross_decomposition.PLSCanonical: Rule(_decomposed),
            cross_decomposition.PLSRegression: Rule(_decomposed),
            dummy.DummyRegressor: Rule(_dummy_number),
            isotonic.IsotonicRegression: Rule(interpolated),
        },
    )


def _repeated(rows: Rows, matrix: str, values: Any) -> str:
    """Return ``values``, shape (columns,), repeated for every row."""
    count = rows.add("Shape", matrix, end=1)
    values = np.asarray(values, np.float64).reshape(1, -1)
    shape = rows.add("Concat", count, rows.whole([values.shape[1]]), axis=0)
    return rows.add("Expand", rows.number(values), shape)


def _dummy_number(rows: Rows, model: Any, matrix: str) -> str:
    return _repeated(rows, matrix, model.constant_)


def _dummy_classes(rows: Rows, model: Any, matrix: str) -> Classified:
    if model.n_outputs_ != 1 or model.strategy in ("stratified", "uniform"):
        raise NotExportableError(
            f"DummyClassifier(strategy={model.strategy!r}) of {model.n_outputs_} outputs has no"
            " ONNX form: a graph draws no random labels; use strategy='prior' and one output"
        )
    priors = np.asarray(model.class_prior_, np.float64)
    chosen: int | np.integer = priors.argmax()
    if model.strategy == "constant":
        chosen = int(np.flatnonzero(model.classes_ == np.ravel(model.constant)[0])[0])
    shares = priors if model.strategy == "prior" else np.eye(len(priors))[chosen]
    probabilities = _repeated(rows, matrix, shares)
    label = _repeated(rows, matrix, np.eye(len(priors))[chosen])
    return positions_of_largest(rows, label), probabilities


def _decomposed(rows: Rows, model: Any, matrix: str) -> str:
    centred = rows.op("Sub", matrix, model._x_mean)
    return rows.op("Add", rows.op("MatMul", centred, model.coef_.T), model.intercept_)


def interpolated(rows: Rows, model: Any, matrix: str) -> str:
    """Return an isotonic regression's answer: straight lines between its thresholds.

    A value beyond the thresholds is clipped, becomes NaN or raises, as ``out_of_bounds`` says.
    """
    at, values = np.asarray(model.X_thresholds_, float), np.asarray(model.y_thresholds_, float)
    if len(at) == 1:
        return rows.op("Add", rows.op("Mul", matrix, 0.0), values[0])
    outside = rows.add("Or", rows.op("Less", matrix, at[0]), rows.op("Greater", matrix, at[-1]))
    inside = rows.op("Max", rows.op("Min", matrix, at[-1]), at[0])
    # The interval's number is the count of inner thresholds below the value, exact in float64.
    passed = rows.truth(rows.op("Greater", inside, at[None, 1:-1])) if len(at) > 2 else ""
    number = rows.cast(rows.reduce("ReduceSum", passed), np.int64) if passed else ""
    slopes = np.diff(values) / np.diff(at)

    def of_interval(table: np.ndarray) -> str:
        return (
            rows.add("Gather", rows.number(table), number, axis=0) if number else rows.number(table)
        )

    along = rows.op("Sub", inside, of_interval(at[:-1]))
    found = rows.op("Add", of_interval(values[:-1]), rows.op("Mul", along, of_interval(slopes)))
    if model.out_of_bounds == "nan":
        return rows.op("Where", outside, np.nan, found)
    return rows.raising(found, outside) if model.out_of_bounds == "raise" else found


def _quadratic(rows: Rows, model: Any, matrix: str) -> Classified:
    scores = _quadratic_scores(rows, model, matrix)
    return positions_of_largest(rows, scores), rows.add("Softmax", scores, axis=1)


def _quadratic_scores(rows: Rows, model: Any, matrix: str) -> str:
    scores = []
    for mean, rotation, scaling, prior in zip(
        model.means_, model.rotations_, model.scalings_, model.priors_, strict=True
    ):
        projected = rows.op("MatMul", rows.op("Sub", matrix, mean), rotation * scaling**-0.5)
        square = rows.reduce("ReduceSum", rows.op("Mul", projected, projected))
        shifted = rows.op("Add", square, float(np.log(scaling).sum()))
        scores.append(rows.op("Add", rows.op("Mul", shifted, -0.5), float(np.log(prior))))
    return rows.joined(scores)


def _discriminated(rows: Rows, model: Any, matrix: str) -> Classified:
    scores = linear_scores(rows, model, matrix)
    if len(model.classes_) > 2:
        return positions_of_largest(rows, scores), rows.add("Softmax", scores, axis=1)
    return _above_zero(rows, scores), _of_second(rows, rows.add("Sigmoid", scores))


def _parse_descended(scope: Any, model: Any, inputs: Any, custom_parsers: Any = None) -> list[Any]:
    """Declare an SGDClassifier; with several classes it answers that of the largest score.

    skl2onnx takes the class of the largest probability, but large scores give equal probabilities.
    """
    from skl2onnx import _parse

    if hasattr(model, "predict_proba") and len(model.classes_) > 2:
        return declared(scope, inputs, Combination(model, CLASSIFIER, _against_others))
    return _parse._parse_sklearn_classifier(scope, model, inputs)


def _against_others(rows: Rows, model: Any, values: list[str]) -> Classified:
    """Return the class of the largest score, and each class's share of the sum as probability."""
    scores = linear_scores(rows, model, rows.joined(values))
    if model.loss == "log_loss":
        own = rows.add("Sigmoid", scores)
    else:
        own = rows.op("Mul", rows.op("Add", rows.op("Clip", scores, -1.0, 1.0), 1.0), 0.5)
    return positions_of_largest(rows, scores), _shares(rows, own)


def _above_zero(rows: Rows, scores: str) -> str:
    """Return the position of one of two classes by the scores of the second, (rows, 1)."""
    return rows.reshape(rows.cast(rows.op("Greater", scores, 0.0), np.int64), -1)


def _of_second(rows: Rows, probability: str) -> str:
    return rows.joined([rows.op("Sub", 1.0, probability), probability])


def _shares(rows: Rows, own: str) -> str:
    """Return each value's share of their sum; equal shares if the sum is 0."""
    whole = rows.reduce("ReduceSum", own)
    none = rows.op("Equal", whole, 0.0)
    kept = rows.op("Where", none, 1.0, own)
    return rows.op("Div", kept, rows.reduce("ReduceSum", kept))
