"""Distances between rows and training rows, with standard operators only."""

from __future__ import annotations

from typing import Any

import numpy as np

from mlflow_onnx_flavor.errors import NotExportableError
from mlflow_onnx_flavor.frameworks.sklearn.converters.transformers_graph import Rows

# Up to this number of columns the differences are written out for each, which is exact for close
# rows; beyond, the square is expanded, as in scikit-learn.
_WRITTEN_OUT = 64


def distances(rows: Rows, matrix: str, points: np.ndarray, metric: str, p: float = 2.0) -> str:
    """Return the distances to ``points``, shape (rows, points).

    ``metric``: a name of scikit-learn's; raises NotExportableError for those not supported.
    """
    points = np.asarray(points, np.float64)
    if metric == "minkowski":
        metric = {1: "manhattan", 2: "euclidean", np.inf: "chebyshev"}.get(p, metric)
    if metric in ("l2", "l1", "cityblock"):
        metric = "euclidean" if metric == "l2" else "manhattan"
    if metric == "cosine":
        return _cosine(rows, matrix, points)
    if metric in ("euclidean", "sqeuclidean"):
        squared = _squared(rows, matrix, points)
        return rows.add("Sqrt", squared) if metric == "euclidean" else squared
    total = ""
    for column, values in enumerate(points.T):
        gap = rows.add("Abs", _gap(rows, matrix, column, values))
        if metric == "minkowski":
            gap = rows.op("Pow", gap, float(p))
        elif metric not in ("manhattan", "chebyshev"):
            raise NotExportableError(
                f"the metric {metric!r} has no ONNX form here; use euclidean, manhattan, chebyshev,"
                " minkowski or cosine"
            )
        total = rows.op("Max" if metric == "chebyshev" else "Add", total, gap) if total else gap
    return rows.op("Pow", total, 1.0 / p) if metric == "minkowski" else total


def neighbour_distances(rows: Rows, matrix: str, fitted: Any) -> str:
    """Return the distances to the rows that a scikit-learn neighbours estimator was fitted on."""
    parameters = dict(fitted.effective_metric_params_ or {})
    p = parameters.pop("p", 2.0)
    metric = fitted.effective_metric_
    if callable(metric) or any(each is not None for each in parameters.values()):
        raise NotExportableError(
            f"{type(fitted).__name__} with a metric of its own has no ONNX form; use euclidean,"
            " manhattan, chebyshev, minkowski or cosine"
        )
    points = fitted._fit_X
    points = points.toarray() if hasattr(points, "toarray") else points
    return distances(rows, matrix, points, metric, p)


def _gap(rows: Rows, matrix: str, column: int, values: np.ndarray) -> str:
    return rows.op("Sub", rows.columns(matrix, [column]), values[None, :])


def _squared(rows: Rows, matrix: str, points: np.ndarray) -> str:
    if points.shape[1] <= _WRITTEN_OUT:
        total = ""
        for column, values in enumerate(points.T):
            gap = _gap(rows, matrix, column, values)
            square = rows.op("Mul", gap, gap)
            total = rows.op("Add", total, square) if total else square
        return total
    own = rows.reduce("ReduceSum", rows.op("Mul", matrix, matrix))
    product = rows.op("MatMul", matrix, -2.0 * points.T)
    total = rows.op("Add", rows.op("Add", product, own), (points**2).sum(axis=1))
    return rows.op("Max", total, 0.0)


def _cosine(rows: Rows, matrix: str, points: np.ndarray) -> str:
    norms = np.linalg.norm(points, axis=1, keepdims=True)
    own = rows.add("Sqrt", rows.reduce("ReduceSum", rows.op("Mul", matrix, matrix)))
    own = rows.op("Where", rows.op("Equal", own, 0.0), 1.0, own)
    units = points / np.where(norms == 0, 1.0, norms)
    likeness = rows.op("MatMul", rows.op("Div", matrix, own), units.T)
    return rows.op("Clip", rows.op("Sub", 1.0, likeness), 0.0, 2.0)


def inverse_distances(rows: Rows, far: str) -> str:
    """Return the weights of neighbours at the distances ``far``.

    If some neighbours equal the row, only these have a weight.  An infinite distance weighs
    nothing.
    """
    same = rows.op("Equal", far, 0.0)
    some = rows.op("Greater", rows.reduce("ReduceMax", rows.truth(same)), 0.0)
    inverse = rows.op("Div", 1.0, rows.op("Where", same, 1.0, far))
    return rows.add("Where", some, rows.truth(same), inverse)
