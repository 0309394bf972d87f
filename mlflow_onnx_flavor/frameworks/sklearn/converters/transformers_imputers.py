"""Imputers and the indicator of missing values."""

from __future__ import annotations

from typing import Any

import numpy as np

from mlflow_onnx_flavor.errors import NotExportableError
from mlflow_onnx_flavor.frameworks.sklearn.converters.imputing_nearest import imputed_by_nearest
from mlflow_onnx_flavor.frameworks.sklearn.converters.transformers_graph import Column, Rows, Rule
from mlflow_onnx_flavor.frameworks.sklearn.converters.transformers_graph import register as _take
from mlflow_onnx_flavor.frameworks.sklearn.text import MISSING_TEXT, is_missing


def register() -> None:
    """Register this file's converters with skl2onnx."""
    from sklearn import impute
    from sklearn.impute._iterative import IterativeImputer

    def marked(model: Any) -> bool:
        """Return whether the marker is a number; a rounded number must not become equal to it."""
        return not is_missing(model.missing_values)

    _take(
        {
            impute.SimpleImputer: Rule(
                _simple, exact=marked, by_column=True, keeps_text=True, moves=True
            ),
            impute.MissingIndicator: Rule(_indicator, exact=marked, by_column=True, moves=True),
            impute.KNNImputer: Rule(_knn, exact=marked, float64=True),
            IterativeImputer: Rule(_iterative, exact=marked, float64=True),
        }
    )


def _simple(rows: Rows, model: Any, columns: list[Column]) -> str:
    if model.add_indicator and any(each.text for each in columns):
        raise NotExportableError(
            "SimpleImputer(add_indicator=True) on text puts text and truth values into one array,"
            " which ONNX cannot; use a MissingIndicator beside it"
        )
    if len({each.text for each in columns}) > 1:
        raise NotExportableError(
            "SimpleImputer is given text and numbers together; give each their own imputer in a"
            " ColumnTransformer"
        )
    masks = [_missing(rows, each, model.missing_values) for each in columns]
    filled = []
    for column, mask, value in zip(columns, masks, model.statistics_, strict=True):
        if is_missing(value):
            if not model.keep_empty_features:
                continue
            value = _empty_fill(model)
        fill = rows.constant([str(value)] if column.text else [float(value)])
        filled.append(rows.add("Where", mask, fill, column.name))
    if model.add_indicator:
        filled += _indicated(rows, model.indicator_, masks)
    return rows.joined(filled)


def _empty_fill(model: Any) -> Any:
    raise NotExportableError(
        f"{type(model).__name__} keeps a column that had no value at all in training; leave the"
        " column out"
    )


def _indicator(rows: Rows, model: Any, columns: list[Column]) -> str:
    masks = [_missing(rows, each, model.missing_values) for each in columns]
    if not len(model.features_):
        raise NotExportableError(
            "MissingIndicator saw no missing value in training, so it has no column to give; fit it"
            " with features='all', or leave it out"
        )
    found = rows.joined(_indicated(rows, model, masks))
    if model.features == "missing-only" and model.error_on_new:
        new = [each for at, each in enumerate(masks) if at not in model.features_]
        found = rows.raising(found, rows.joined(new)) if new else found
    return found


def _indicated(rows: Rows, indicator: Any, masks: list[str]) -> list[str]:
    return [rows.cast(masks[at], np.float64) for at in indicator.features_]


def _missing(rows: Rows, column: Column, marker: Any) -> str:
    if column.text:
        text = MISSING_TEXT if is_missing(marker) else str(marker)
        return rows.add("Equal", column.name, rows.constant([text]))
    if is_missing(marker):
        return rows.add("IsNaN", column.name)
    return _marked(rows, column.name, float(marker))


def _missing_in(rows: Rows, matrix: str, marker: Any) -> str:
    if is_missing(marker):
        return rows.add("IsNaN", matrix)
    return _marked(rows, matrix, float(marker))


def _marked(rows: Rows, value: str, marker: float) -> str:
    """Return a mask of the marker, which float32 rows hold as float32."""
    same = rows.op("Equal", value, marker)
    if float(np.float32(marker)) == marker:
        return same
    return rows.add("Or", same, rows.op("Equal", value, float(np.float32(marker))))


def _with_indicator(rows: Rows, model: Any, filled: str, missing: str) -> str:
    if not model.add_indicator:
        return filled
    return rows.joined([filled, rows.truth(rows.columns(missing, model.indicator_.features_))])


def _knn(rows: Rows, model: Any, matrix: str) -> str:
    missing = _missing_in(rows, matrix, model.missing_values)
    filled = imputed_by_nearest(rows, model, matrix, missing)
    return _with_indicator(rows, model, filled, missing)


def _iterative(rows: Rows, model: Any, matrix: str) -> str:
    """Return missing values predicted by a linear model of the other columns, round after round."""
    if model.sample_posterior:
        raise NotExportableError(
            "IterativeImputer(sample_posterior=True) draws random numbers; fit it with"
            " sample_posterior=False"
        )
    initial = model.initial_imputer_
    if model.keep_empty_features and model._is_empty_feature.any():
        _empty_fill(model)
    missing_before = _missing_in(rows, matrix, model.missing_values)
    kept = np.flatnonzero(~model._is_empty_feature)
    given, missing = rows.columns(matrix, kept), rows.columns(missing_before, kept)
    start = initial.statistics_[kept].astype(np.float64)
    columns = [
        rows.op("Where", rows.columns(missing, [at]), start[at], rows.columns(given, [at]))
        for at in range(len(kept))
    ]
    begun = rows.joined(columns)
    if model.n_iter_:
        for step in model.imputation_sequence_:
            at, estimator = int(step.feat_idx), step.estimator
            _require_linear(estimator)
            others = rows.joined([columns[int(each)] for each in step.neighbor_feat_idx])
            weights = np.reshape(estimator.coef_, (-1, 1))
            guess = rows.op("MatMul", others, weights)
            guess = rows.op("Add", guess, np.ravel(estimator.intercept_))
            guess = rows.op("Clip", guess, model._min_value[at], model._max_value[at])
            columns[at] = rows.add("Where", rows.columns(missing, [at]), guess, columns[at])
    filled = rows.joined(columns)
    # A batch whose values are all missing keeps its first guess, as in scikit-learn.
    everything = rows.add("ReduceMin", rows.cast(missing, np.int64), keepdims=0)
    filled = rows.add("Where", rows.cast(everything, np.bool_), begun, filled)
    return _with_indicator(rows, model, filled, missing_before)


def _require_linear(estimator: Any) -> None:
    from sklearn import linear_model

    linear = ("BayesianRidge", "ARDRegression", "Ridge", "LinearRegression", "Lasso", "ElasticNet")
    if type(estimator) not in [getattr(linear_model, each) for each in linear]:
        raise NotExportableError(
            f"IterativeImputer with {type(estimator).__name__} has no ONNX form here; use a linear"
            " estimator such as BayesianRidge"
        )
