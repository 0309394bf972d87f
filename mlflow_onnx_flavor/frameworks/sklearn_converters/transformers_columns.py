"""Transformers that pick or pool columns, or apply a function to each number."""

from __future__ import annotations

from typing import Any

import numpy as np

from mlflow_onnx_flavor.frameworks.not_exportable import NotExportableError
from mlflow_onnx_flavor.frameworks.sklearn_converters.transformers_arithmetic import expm1, log1p
from mlflow_onnx_flavor.frameworks.sklearn_converters.transformers_graph import (
    Rows,
    Rule,
)
from mlflow_onnx_flavor.frameworks.sklearn_converters.transformers_graph import (
    register as _take,
)

# Functions of one number that ONNX has under another name.
_SAME = {
    "absolute": "Abs",
    "fabs": "Abs",
    "ceil": "Ceil",
    "cos": "Cos",
    "exp": "Exp",
    "floor": "Floor",
    "log": "Log",
    "negative": "Neg",
    "rint": "Round",
    "sign": "Sign",
    "sin": "Sin",
    "sqrt": "Sqrt",
    "tanh": "Tanh",
}
# They jump, so a number that was rounded on its way in may land on the other side.
_STEPS = ("ceil", "floor", "rint", "sign", "trunc")


def register() -> None:
    """Tell skl2onnx the converters of this file."""
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
            FunctionTransformer: Rule(_applied, exact=_jumps, width=lambda m: m.n_features_in_),
        }
    )


def _selected(rows: Rows, model: Any, matrix: str) -> str:
    return rows.columns(matrix, np.flatnonzero(model.get_support()))


def _pooled(rows: Rows, model: Any, matrix: str) -> str:
    """Each cluster of columns as one number."""
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
    return isinstance(model.func, np.ufunc) and model.func.__name__ in _STEPS


def _applied(rows: Rows, model: Any, matrix: str) -> str:
    function = model.func
    if function is None:
        return matrix
    if model.kw_args or not isinstance(function, np.ufunc):
        raise _unknown(function)
    name = function.__name__
    if getattr(np, name, None) is not function:
        raise _unknown(function)
    if name in _SAME:
        return rows.add(_SAME[name], matrix)
    if name == "log1p":
        return log1p(rows, matrix)
    if name == "expm1":
        return expm1(rows, matrix)
    if name == "square":
        return rows.op("Mul", matrix, matrix)
    if name in ("log2", "log10"):
        return rows.op("Div", rows.add("Log", matrix), np.log(2.0 if name == "log2" else 10.0))
    if name == "exp2":
        return rows.op("Pow", 2.0, matrix)
    if name == "trunc":
        return rows.op("Mul", rows.add("Sign", matrix), rows.add("Floor", rows.add("Abs", matrix)))
    raise _unknown(function)


def _unknown(function: Any) -> NotExportableError:
    known = sorted([*_SAME, "log1p", "expm1", "square", "log2", "log10", "exp2", "trunc"])
    return NotExportableError(
        f"FunctionTransformer applies {_name(function)}, which has no ONNX form; use a numpy"
        f" function ({', '.join(known)}) without kw_args, or compute the column before the model"
    )


def _name(function: Any) -> str:
    module = getattr(function, "__module__", None)
    name = getattr(function, "__qualname__", getattr(function, "__name__", repr(function)))
    return f"{module}.{name}" if module else str(name)
