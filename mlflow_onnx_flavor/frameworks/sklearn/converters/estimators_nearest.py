"""Estimators that answer by the nearest points, centres or centroids."""

from __future__ import annotations

from typing import Any

import numpy as np

from mlflow_onnx_flavor.errors import NotExportableError
from mlflow_onnx_flavor.frameworks.sklearn.converters.estimators_graph import (
    CLASSIFIER,
    CLUSTERER,
    REGRESSOR,
    Classified,
    Rule,
    positions_of_largest,
    take,
)
from mlflow_onnx_flavor.frameworks.sklearn.converters.estimators_scores import take_scores, written
from mlflow_onnx_flavor.frameworks.sklearn.converters.transformers_distances import (
    distances,
    inverse_distances,
    neighbour_distances,
)
from mlflow_onnx_flavor.frameworks.sklearn.converters.transformers_graph import Rows


def register() -> None:
    """Register this file's converters with skl2onnx."""
    from sklearn import cluster, neighbors, semi_supervised

    take(
        CLASSIFIER,
        {
            neighbors.NearestCentroid: Rule(_nearest_centroid),
            neighbors.RadiusNeighborsClassifier: Rule(_radius_classes, exact=True),
            semi_supervised.LabelPropagation: Rule(_propagated),
            semi_supervised.LabelSpreading: Rule(_propagated),
        },
    )
    take_scores({neighbors.NearestCentroid: written(_centroid_scores)})
    take(REGRESSOR, {neighbors.RadiusNeighborsRegressor: Rule(_radius_mean, exact=True)})
    take(
        CLUSTERER,
        {
            cluster.AffinityPropagation: Rule(_exemplars),
            cluster.Birch: Rule(_birch),
            cluster.BisectingKMeans: Rule(_bisected),
            cluster.KMeans: Rule(_nearest_mean),
            cluster.MiniBatchKMeans: Rule(_nearest_mean),
            cluster.MeanShift: Rule(_nearest_centre),
        },
    )


def _nearest(rows: Rows, matrix: str, points: Any, metric: str = "euclidean") -> str:
    """Return the position of the nearest of ``points``, the first of equals, shape (rows,)."""
    metric = "sqeuclidean" if metric == "euclidean" else metric
    far = distances(rows, matrix, np.asarray(points, np.float64), metric)
    return rows.add("ArgMin", far, axis=1, keepdims=0)


def _nearest_centroid(rows: Rows, model: Any, matrix: str) -> Classified:
    if not hasattr(model, "class_prior_"):  # before scikit-learn 1.6
        return _nearest(rows, matrix, np.asarray(model.centroids_, np.float64), model.metric), ""
    scores = _centroid_scores(rows, model, matrix)
    probabilities = rows.add("Softmax", scores, axis=1)
    priors = model.class_prior_
    if np.isclose(priors, 1 / len(priors)).all():
        return _nearest(rows, matrix, model.centroids_, model.metric), probabilities
    return positions_of_largest(rows, scores), probabilities


def _centroid_scores(rows: Rows, model: Any, matrix: str) -> str:
    spread = np.where(model.within_class_std_dev_ == 0, 1.0, model.within_class_std_dev_)
    centroids = np.asarray(model.centroids_, np.float64) / spread
    far = distances(rows, rows.op("Div", matrix, spread), centroids, model.metric)
    return rows.op("Sub", 2.0 * np.log(model.class_prior_), rows.op("Mul", far, far))


def _nearest_centre(rows: Rows, model: Any, matrix: str) -> str:
    return _nearest(rows, matrix, model.cluster_centers_)


def _nearest_mean(rows: Rows, model: Any, matrix: str) -> str:
    """Return the nearest mean, computed without the square of the row, as in scikit-learn.

    The square of large values would absorb the other terms.
    """
    centres = np.asarray(model.cluster_centers_, np.float64)
    product = rows.op("MatMul", matrix, -2.0 * centres.T)
    far = rows.op("Add", product, (centres**2).sum(axis=1))
    return rows.add("ArgMin", far, axis=1, keepdims=0)


def _exemplars(rows: Rows, model: Any, matrix: str) -> str:
    if not hasattr(model, "cluster_centers_"):
        raise NotExportableError(
            "AffinityPropagation on precomputed affinities cannot predict; fit it on the rows"
        )
    if not len(model.cluster_centers_):
        return _constant(rows, matrix, -1)
    return _nearest(rows, matrix, model.cluster_centers_)


def _birch(rows: Rows, model: Any, matrix: str) -> str:
    nearest = _nearest(rows, matrix, model.subcluster_centers_)
    return rows.add("Gather", rows.whole(model.subcluster_labels_), nearest, axis=0)


def _bisected(rows: Rows, model: Any, matrix: str) -> str:
    """Return the cluster found by descending the bisections, each time to the nearer centre."""
    mean = getattr(model, "_X_mean", 0.0)

    def label_below(node: Any) -> str:
        if node.left is None:
            return rows.whole([node.label])
        centres = np.vstack([node.left.center, node.right.center]) + mean
        far = distances(rows, matrix, centres, "sqeuclidean")
        left, right = (rows.reshape(rows.columns(far, [each]), -1) for each in (0, 1))
        first = rows.add("LessOrEqual", left, right)
        return rows.add("Where", first, label_below(node.left), label_below(node.right))

    tree = model._bisecting_tree
    return _constant(rows, matrix, tree.label) if tree.left is None else label_below(tree)


def _constant(rows: Rows, matrix: str, label: int) -> str:
    count = rows.add("Shape", matrix, end=1)
    return rows.add("Expand", rows.whole([label]), count)


def _propagated(rows: Rows, model: Any, matrix: str) -> Classified:
    points, known = np.asarray(model.X_, np.float64), np.asarray(model.label_distributions_)
    if model.kernel == "rbf":
        far = distances(rows, matrix, points, "sqeuclidean")
        weights = rows.add("Exp", rows.op("Mul", far, -float(model.gamma)))
        total = rows.op("MatMul", weights, known)
    elif model.kernel == "knn":
        _, where = rows.smallest(neighbour_distances(rows, matrix, model.nn_fit), model.n_neighbors)
        around = rows.add("Gather", rows.number(known), where, axis=0)
        total = rows.reduce("ReduceSum", around, axis=1, keepdims=False)
    else:
        raise NotExportableError(
            f"{type(model).__name__} with a kernel of its own has no ONNX form; use 'rbf' or 'knn'"
        )
    probabilities = rows.op("Div", total, rows.reduce("ReduceSum", total))
    return positions_of_largest(rows, probabilities), probabilities


def _within_radius(rows: Rows, model: Any, matrix: str) -> tuple[str, str]:
    """Return the distances to the fitted rows, and a mask of those within the radius.

    Squares are compared if scikit-learn's trees compare squares: a row may lie on the radius.
    """
    if model.effective_metric_ == "euclidean" and not hasattr(model._fit_X, "toarray"):
        squared = distances(rows, matrix, model._fit_X, "sqeuclidean")
        return rows.add("Sqrt", squared), rows.op("LessOrEqual", squared, float(model.radius) ** 2)
    far = neighbour_distances(rows, matrix, model)
    return far, rows.op("LessOrEqual", far, float(model.radius))


def _radius_weights(rows: Rows, model: Any, matrix: str) -> str:
    """Return the weight of each fitted row, shape (rows, fitted rows): 0 beyond the radius."""
    far, near = _within_radius(rows, model, matrix)
    if model.weights == "uniform":
        return rows.truth(near)
    if model.weights != "distance":
        raise NotExportableError(
            f"{type(model).__name__} with weights of its own has no ONNX form; use 'uniform' or"
            " 'distance'"
        )
    return rows.op("Where", near, inverse_distances(rows, far), 0.0)


def _radius_mean(rows: Rows, model: Any, matrix: str) -> str:
    weights = _radius_weights(rows, model, matrix)
    targets = np.asarray(model._y, np.float64).reshape(len(model._y), -1)
    total = rows.reduce("ReduceSum", weights)
    # A row without neighbours within the radius is 0 / 0, which gives NaN, as in scikit-learn.
    return rows.op("Div", rows.op("MatMul", weights, targets), total)


def _radius_classes(rows: Rows, model: Any, matrix: str) -> Classified:
    if model.outputs_2d_:
        raise NotExportableError(
            "RadiusNeighborsClassifier of several targets has no ONNX form here; fit one for each"
        )
    count, weights = len(model.classes_), _radius_weights(rows, model, matrix)
    votes = rows.op("MatMul", weights, np.eye(count)[np.asarray(model._y).ravel()])
    alone = rows.op("Equal", rows.reduce("ReduceSum", weights), 0.0)
    label = None if model.outlier_label_ is None else model.outlier_label_[0]
    if label is None:
        votes = rows.raising(votes, alone)  # scikit-learn raises here too
    else:
        outlier = (np.asarray(model.classes_) == label).astype(np.float64)
        if not outlier.any():
            raise NotExportableError(
                f"the outlier label {label!r} is no class of the RadiusNeighborsClassifier, which"
                " has no ONNX form here; choose one of its classes"
            )
        votes = rows.op("Where", alone, outlier, votes)
    probabilities = rows.op("Div", votes, rows.reduce("ReduceSum", votes))
    return positions_of_largest(rows, probabilities), probabilities
