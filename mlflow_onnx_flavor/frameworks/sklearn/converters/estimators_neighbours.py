"""Votes and means of the nearest training rows.

If several training rows are equally far at the edge of ``n_neighbors``, scikit-learn takes those
that its trees or heaps meet first, and the graph those that come first (see `neighbour_ties`).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from mlflow_onnx_flavor.errors import NotExportableError
from mlflow_onnx_flavor.frameworks.sklearn.converters.estimators_graph import (
    CLASSIFIER,
    REGRESSOR,
    Classified,
    Rule,
    positions_of_largest,
    take,
)
from mlflow_onnx_flavor.frameworks.sklearn.converters.neighbour_ties import tell_ties
from mlflow_onnx_flavor.frameworks.sklearn.converters.transformers_distances import (
    inverse_distances,
    neighbour_distances,
)
from mlflow_onnx_flavor.frameworks.sklearn.converters.transformers_graph import Rows

_ASKED_ROWS = 1000  # the most training rows that are tested for ties


def register() -> None:
    """Register this file's converters with skl2onnx."""
    from sklearn import neighbors

    take(CLASSIFIER, {neighbors.KNeighborsClassifier: Rule(_classes)})
    take(REGRESSOR, {neighbors.KNeighborsRegressor: Rule(_mean)})


def _classes(rows: Rows, model: Any, matrix: str) -> Classified:
    if model.outputs_2d_:
        raise NotExportableError(
            "KNeighborsClassifier of several targets has no ONNX form here; wrap it in a"
            " MultiOutputClassifier"
        )
    votes = np.eye(len(model.classes_))[np.asarray(model._y).ravel()]
    total, weight = _weighed(rows, model, matrix, votes)
    probabilities = rows.op("Div", total, rows.reshape(weight, -1, 1))
    return positions_of_largest(rows, probabilities), probabilities


def _mean(rows: Rows, model: Any, matrix: str) -> str:
    targets = np.asarray(model._y, np.float64).reshape(len(model._y), -1)
    total, weight = _weighed(rows, model, matrix, targets)
    return rows.op("Div", total, rows.reshape(weight, -1, 1))


def _weighed(rows: Rows, model: Any, matrix: str, values: np.ndarray) -> tuple[str, str]:
    """Return the weighted sum of the neighbours' ``values``, and the sum of the weights."""
    if model.weights not in ("uniform", "distance", None):
        raise NotExportableError(
            f"{type(model).__name__} with weights of its own has no ONNX form; use 'uniform' or"
            " 'distance'"
        )
    _tell_ties(model, values)
    far, which = rows.smallest(neighbour_distances(rows, matrix, model), model.n_neighbors)
    found = rows.add("Gather", rows.number(values), which, axis=0)
    if model.weights == "distance":
        weights = inverse_distances(rows, far)
    else:
        weights = rows.op("Where", rows.op("Equal", far, 0.0), 1.0, 1.0)
    wide = rows.reshape(weights, -1, model.n_neighbors, 1)
    total = rows.reduce("ReduceSum", rows.op("Mul", found, wide), axis=1, keepdims=False)
    return total, rows.reduce("ReduceSum", weights)


def _tell_ties(model: Any, values: np.ndarray) -> None:
    share = _undecided_share(model, values)
    tell_ties(
        share,
        f"{type(model).__name__} finds several training rows equally far at the edge of"
        f" n_neighbors={model.n_neighbors} with different targets, for {share:.1%} of its own"
        " training rows; which of them scikit-learn takes depends on how it searches",
        "there is no ONNX form",
        "use columns whose values rarely repeat, or a RadiusNeighbors model",
    )


def _undecided_share(model: Any, values: np.ndarray) -> float:
    """Return the share of training rows whose own answer ties leave undecided."""
    count, known = model.n_neighbors, len(values)
    if known <= count:
        return 0.0
    some = np.unique(np.linspace(0, known - 1, min(known, _ASKED_ROWS)).astype(int))
    far, which = model.kneighbors(model._fit_X[some], n_neighbors=count + 1)
    edge = far[:, count - 1 : count]
    tied = np.isclose(far, edge, rtol=1e-9, atol=1e-12)
    undecided = [
        np.ptp(values[which[row][tied[row]]], axis=0).any() for row in np.flatnonzero(tied[:, -1])
    ]
    return sum(map(bool, undecided)) / len(some)
