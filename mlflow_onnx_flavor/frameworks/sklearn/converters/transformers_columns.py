"""Transformers that pick or pool columns, or apply a function to each number."""

from __future__ import annotations

import functools
import itertools
from typing import Any

import numpy as np

from mlflow_onnx_flavor.errors import NotExportableError
from mlflow_onnx_flavor.frameworks.sklearn.converters.function_tracing import (
    SAME,
    WRITTEN,
    Traced,
    UntraceableError,
    trace,
)
from mlflow_onnx_flavor.frameworks.sklearn.converters.transformers_graph import Rows, Rule
from mlflow_onnx_flavor.frameworks.sklearn.converters.transformers_graph import register as _take


def register() -> None:
    """Register this file's converters with skl2onnx."""
    from sklearn import feature_selection
    from sklearn.cluster import FeatureAgglomeration
    from sklearn.preprocessing import FunctionTransformer

    selectors = (
        "GenericUnivariateSelect",
        "RFE",
        "RFECV",
        "SelectFdr",
        "SelectFpr",
        "SelectFromModel",
        "SelectFwe",
        "SelectKBest",
        "SelectPercentile",
        "SequentialFeatureSelector",
        "VarianceThreshold",
    )
    selector = Rule(_selected, moves=True, width=lambda m: int(m.get_support().sum()))
    _take(
        {
            **{getattr(feature_selection, each): selector for each in selectors},
            FeatureAgglomeration: Rule(_pooled, width=lambda model: model.n_clusters_),
            FunctionTransformer: Rule(_applied, exact=_jumps, width=_function_width),
        }
    )


def _selected(rows: Rows, model: Any, matrix: str) -> str:
    return rows.columns(matrix, np.flatnonzero(model.get_support()))


def _pooled(rows: Rows, model: Any, matrix: str) -> str:
    """Return each cluster of columns as one number."""
    reductions = {np.mean: "ReduceMean", np.sum: "ReduceSum", np.max: "ReduceMax"}
    reductions[np.min] = "ReduceMin"
    reduction = reductions.get(model.pooling_func)
    if reduction is None and model.pooling_func is not np.median:
        raise NotExportableError(
            f"FeatureAgglomeration pools by {_name(model.pooling_func)}, which has no ONNX form"
            " here; use numpy's mean, sum, max, min or median"
        )
    pooled = []
    for label in np.unique(model.labels_):
        members = np.flatnonzero(model.labels_ == label)
        own = rows.columns(matrix, members)
        if reduction:
            pooled.append(rows.reduce(reduction, own))
            continue
        ascending, _ = rows.smallest(own, len(members))
        middle = sorted({(len(members) - 1) // 2, len(members) // 2})
        pooled.append(rows.reduce("ReduceMean", rows.columns(ascending, middle)))
    return rows.joined(pooled)


def _jumps(model: Any) -> bool:
    return model.func is not None and _tried(model).jumped


def _function_width(model: Any) -> int:
    return model.n_features_in_ if model.func is None else _tried(model).width


def _applied(rows: Rows, model: Any, matrix: str) -> str:
    return matrix if model.func is None else _traced(rows, model, matrix).joined()


def _tried(model: Any) -> Traced:
    """Return the function's trace in a graph that is thrown away."""
    number = itertools.count()
    return _traced(Rows(lambda name: f"{name}{next(number)}", np.float64), model, "rows")


def _traced(rows: Rows, model: Any, matrix: str) -> Traced:
    function = functools.partial(model.func, **(model.kw_args or {}))
    names = getattr(model, "feature_names_in_", range(model.n_features_in_))
    try:
        return trace(rows, function, matrix, list(names))
    except UntraceableError as error:
        others = ("clip", "column_stack", "isnan", "maximum", "minimum", "where")
        known = ", ".join(sorted([*SAME, *WRITTEN, *others]))
        raise NotExportableError(
            f"FunctionTransformer applies {_name(model.func)}, which has no ONNX form: {error}; use"
            f" arithmetic, comparisons and functions of numpy ({known}) on all rows, or compute the"
            " column before the model"
        ) from error


def _name(function: Any) -> str:
    module = getattr(function, "__module__", None)
    name = getattr(function, "__qualname__", getattr(function, "__name__", repr(function)))
    return f"{module}.{name}" if module else str(name)
