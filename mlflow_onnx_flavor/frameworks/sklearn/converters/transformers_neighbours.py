"""Transformers by distances to training rows or centres: neighbours, clusters, manifolds."""

from __future__ import annotations

from typing import Any

import numpy as np

from mlflow_onnx_flavor.errors import NotExportableError
from mlflow_onnx_flavor.frameworks.sklearn.converters.transformers_distances import (
    distances,
    neighbour_distances,
)
from mlflow_onnx_flavor.frameworks.sklearn.converters.transformers_graph import Rows, Rule
from mlflow_onnx_flavor.frameworks.sklearn.converters.transformers_graph import register as _take
from mlflow_onnx_flavor.frameworks.sklearn.converters.transformers_kernels import projected
from mlflow_onnx_flavor.frameworks.sklearn.converters.transformers_solving import solved


def register() -> None:
    """Register this file's converters with skl2onnx."""
    from sklearn import cluster, manifold, neighbors

    def clusters(attribute: str) -> Rule:
        def convert(rows: Rows, model: Any, matrix: str) -> str:
            return distances(rows, matrix, getattr(model, attribute), "euclidean")

        return Rule(convert, float64=True, width=lambda model: len(getattr(model, attribute)))

    def fitted(model: Any) -> int:
        return model.n_samples_fit_

    _take(
        {
            cluster.KMeans: clusters("cluster_centers_"),
            cluster.MiniBatchKMeans: clusters("cluster_centers_"),
            cluster.BisectingKMeans: clusters("cluster_centers_"),
            cluster.Birch: clusters("subcluster_centers_"),
            neighbors.KNeighborsTransformer: Rule(_nearest, float64=True, width=fitted),
            neighbors.RadiusNeighborsTransformer: Rule(_within, float64=True, width=fitted),
            manifold.Isomap: Rule(_isomap, float64=True),
            manifold.LocallyLinearEmbedding: Rule(_locally_linear, float64=True),
        }
    )


def _nearest(rows: Rows, model: Any, matrix: str) -> str:
    """Return rows that are zero except at the nearest: their distances, or ones."""
    far = neighbour_distances(rows, matrix, model)
    with_distances = model.mode == "distance"
    found, where = rows.smallest(far, model.n_neighbors + with_distances)
    nothing = rows.op("Where", rows.op("Equal", far, far), 0.0, 0.0)
    values = found if with_distances else rows.op("Where", rows.op("Equal", found, found), 1.0, 1.0)
    return rows.add("ScatterElements", nothing, where, values, axis=1)


def _within(rows: Rows, model: Any, matrix: str) -> str:
    far = neighbour_distances(rows, matrix, model)
    near = rows.op("LessOrEqual", far, model.radius)
    return rows.op("Where", near, far, 0.0) if model.mode == "distance" else rows.truth(near)


def _isomap(rows: Rows, model: Any, matrix: str) -> str:
    """Return the KernelPCA of the shortest ways to every training row through the neighbours."""
    if model.n_neighbors is None or model.metric == "precomputed":
        raise NotExportableError(
            "Isomap by radius or from precomputed distances has no ONNX form; fit it with"
            " n_neighbors"
        )
    found, where = rows.smallest(neighbour_distances(rows, matrix, model.nbrs_), model.n_neighbors)
    geodesic = rows.number(model.dist_matrix_)
    shortest = ""
    for number in range(model.n_neighbors):
        neighbour = rows.reshape(rows.columns(where, [number]), -1)
        through = rows.op(
            "Add", rows.add("Gather", geodesic, neighbour, axis=0), rows.columns(found, [number])
        )
        shortest = rows.op("Min", shortest, through) if shortest else through
    kernel = rows.op("Mul", rows.op("Mul", shortest, shortest), -0.5)
    return projected(rows, kernel, model.kernel_pca_)


def _locally_linear(rows: Rows, model: Any, matrix: str) -> str:
    """Return the place of a row among its neighbours' embeddings.

    The weights are those that reconstruct the row from its neighbours.
    """
    count, points = model.n_neighbors, np.asarray(model.nbrs_._fit_X)
    _, where = rows.smallest(neighbour_distances(rows, matrix, model.nbrs_), count)
    features = points.shape[1]
    around = rows.add("Gather", rows.number(points), where, axis=0)
    gaps = rows.op("Sub", around, rows.reshape(matrix, -1, 1, features))
    gram = rows.add("MatMul", gaps, rows.add("Transpose", gaps, perm=[0, 2, 1]))
    trace = rows.reduce(
        "ReduceSum", rows.reshape(rows.op("Mul", gram, np.eye(count)), -1, count**2)
    )
    some = rows.op("Greater", trace, 0.0)
    ridge = rows.op("Where", some, rows.op("Mul", trace, model.reg), model.reg)
    ridge = rows.op("Mul", rows.reshape(ridge, -1, 1, 1), np.eye(count))
    ones = rows.op("Where", rows.op("Equal", rows.cast(where, rows.dtype), -1.0), 1.0, 1.0)
    weights = solved(rows, rows.op("Add", gram, ridge), ones, count)
    weights = rows.op("Div", weights, rows.reduce("ReduceSum", weights))
    embedded = rows.add("Gather", rows.number(model.embedding_), where, axis=0)
    placed = rows.add("MatMul", rows.reshape(weights, -1, 1, count), embedded)
    return rows.reshape(placed, -1, model.embedding_.shape[1])
