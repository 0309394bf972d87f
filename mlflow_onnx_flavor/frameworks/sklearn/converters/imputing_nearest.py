"""KNNImputer: missing values from the training rows that are nearest on the present values.

If rows are equally far at the edge of ``n_neighbors``, scikit-learn takes those that
`numpy.argpartition` puts first, which depends on the processor (numpy has implementations for AVX2,
AVX-512 and others): there is no right answer (see `neighbour_ties`).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from mlflow_onnx_flavor.errors import NotExportableError
from mlflow_onnx_flavor.frameworks.sklearn.converters.neighbour_ties import tell_ties
from mlflow_onnx_flavor.frameworks.sklearn.converters.transformers_distances import (
    inverse_distances,
)
from mlflow_onnx_flavor.frameworks.sklearn.converters.transformers_graph import Rows

# The number of training rows tested for ties in each column; fewer are tested if their distances
# would exceed `_MOST_DISTANCES` at once.
_ASKED_ROWS = 400
_MOST_DISTANCES = 1_000_000


def imputed_by_nearest(rows: Rows, model: Any, matrix: str, missing: str) -> str:
    """Return the rows with missing values replaced by the mean of the nearest donors.

    A donor is a training row that has the value; distances are nan_euclidean_distances.
    """
    if model.metric != "nan_euclidean" or callable(model.weights):
        raise NotExportableError(
            "KNNImputer with a metric or weights of its own has no ONNX form; use"
            " metric='nan_euclidean' and weights='uniform' or 'distance'"
        )
    _tell_ties(model)
    known, unknown = model._fit_X, model._mask_fit_X
    distance = _nan_distance(rows, matrix, missing, known, unknown)
    columns = []
    for column, valid in enumerate(model._valid_mask):
        given = rows.columns(matrix, [column])
        if not valid:
            if model.keep_empty_features:
                columns.append(rows.op("Where", rows.columns(missing, [column]), 0.0, 0.0))
            continue
        donors = np.flatnonzero(~unknown[:, column])
        nearest = min(model.n_neighbors, len(donors))
        mean = _donated(
            rows, rows.columns(distance, donors), known[donors, column], nearest, model.weights
        )
        columns.append(rows.add("Where", rows.columns(missing, [column]), mean, given))
    return rows.joined(columns)


def _tell_ties(model: Any) -> None:
    share = _undecided_share(model)
    tell_ties(
        share,
        f"KNNImputer finds several training rows equally far at the edge of n_neighbors="
        f"{model.n_neighbors} with different values, for {share:.1%} of its own training rows;"
        " which of them scikit-learn takes depends on the processor (numpy.argpartition)",
        "there is no answer to convert",
        "use SimpleImputer or IterativeImputer, or columns whose values rarely repeat",
    )


def _undecided_share(model: Any) -> float:
    """Return the share of training rows that ties leave undecided once their value is removed.

    Only columns with missing values in training are tested; all of them if there are none.
    """
    unknown = np.asarray(model._mask_fit_X)
    there = (~unknown).astype(np.float64)
    known = np.where(unknown, 0.0, np.asarray(model._fit_X, np.float64))
    valid = np.flatnonzero(model._valid_mask)
    columns = [each for each in valid if unknown[:, each].any()] or list(valid)
    count = min(len(known), _ASKED_ROWS, max(20, _MOST_DISTANCES // len(known)))
    some = np.unique(np.linspace(0, len(known) - 1, count).astype(int))
    counts = [_undecided(model.n_neighbors, known, there, some, each) for each in columns]
    return sum(counts) / max(1, len(counts) * len(some))


def _undecided(
    nearest: int, known: np.ndarray, there: np.ndarray, asked: np.ndarray, column: int | np.integer
) -> int:
    """Return how many rows of ``asked`` have ties at the edge once ``column`` is removed."""
    donors = np.flatnonzero(there[:, column])
    if len(donors) <= nearest:
        return 0
    others = np.arange(known.shape[1]) != column
    known_others, there_others = known[:, others], there[:, others]
    squares = known_others**2
    common = there_others[asked] @ there_others[donors].T
    squared = (
        squares[asked] @ there_others[donors].T
        + there_others[asked] @ squares[donors].T
        - 2.0 * known_others[asked] @ known_others[donors].T
    )
    with np.errstate(divide="ignore", invalid="ignore"):
        squared = np.where(common > 0, squared * known.shape[1] / common, np.inf)
    squared[asked[:, None] == donors[None, :]] = np.inf  # a new row is not in the training data
    # scikit-learn expands the square as well; distances within its rounding error count as equal.
    slack = 16 * np.finfo(np.float64).eps * squares.sum(axis=1).max() * known.shape[1]
    edges = np.partition(squared, (nearest - 1, nearest), axis=1)[:, nearest - 1 : nearest + 1]
    tied = np.isfinite(edges[:, 1]) & (edges[:, 1] - edges[:, 0] <= slack)
    values = known[donors, column]
    return sum(
        np.ptp(values[np.abs(squared[row] - edges[row, 0]) <= slack]) > 0
        for row in np.flatnonzero(tied)
    )


def _nan_distance(
    rows: Rows, matrix: str, missing: str, known: np.ndarray, unknown: np.ndarray
) -> str:
    """Return distances to the rows of ``known`` over common columns; infinite without any."""
    features = known.shape[1]
    there = (~unknown).astype(np.float64)
    values = np.where(unknown, 0.0, known)
    given = rows.op("Where", missing, 0.0, matrix)
    has = rows.truth(rows.add("Not", missing))
    total = rows.op("MatMul", has, np.zeros_like(there.T))
    for column in range(features):
        # Differences are squared one column at a time: the expanded square would lose digits.
        gap = rows.op("Sub", rows.columns(given, [column]), values[:, column][None, :])
        both = rows.op("Mul", rows.columns(has, [column]), there[:, column][None, :])
        total = rows.op("Add", total, rows.op("Mul", rows.op("Mul", gap, gap), both))
    common = rows.op("MatMul", has, there.T)
    none = rows.op("Equal", common, 0.0)
    share = rows.op("Div", float(features), rows.op("Max", common, 1.0))
    return rows.op("Where", none, np.inf, rows.add("Sqrt", rows.op("Mul", total, share)))


def _donated(rows: Rows, distance: str, values: np.ndarray, nearest: int, weights: str) -> str:
    """Return the weighted mean of the nearest donors' ``values``; of all donors if none is near."""
    found, which = rows.smallest(distance, nearest)
    donated = rows.add("Gather", rows.number(values), which, axis=0)
    if weights == "distance":
        weight = inverse_distances(rows, found)
    else:
        weight = rows.op("Where", rows.add("IsInf", found), 0.0, 1.0)
    total = rows.reduce("ReduceSum", weight)
    nothing = rows.op("Equal", total, 0.0)
    weighed = rows.reduce("ReduceSum", rows.op("Mul", donated, weight))
    mean = rows.op("Div", weighed, rows.op("Where", nothing, 1.0, total))
    return rows.op("Where", nothing, float(np.mean(values)), mean)
