"""IsolationForest and RandomTreesEmbedding: forests that use the depth or the leaf of a row."""

from __future__ import annotations

from typing import Any

import numpy as np

from mlflow_onnx_flavor.frameworks.sklearn.converters import trees_graph
from mlflow_onnx_flavor.onnx_graph.tree_ensemble import add_leaf_indicators, add_sum

# A threshold from `contamination` is the score of a training row, which must stay an inlier
# whatever the order in which the trees' depths are summed.
_ROUNDING = 1e-12


def register() -> None:
    """Register this file's converters with skl2onnx."""
    trees_graph.register("SklearnIsolationForest", _isolation_forest)
    trees_graph.register("SklearnRandomTreesEmbedding", _random_trees_embedding)


def _isolation_forest(scope: Any, operator: Any, container: Any) -> None:
    """Write 1 or -1, the score's distance above the offset, and on request the score itself."""
    from sklearn.ensemble._iforest import _average_path_length

    model = operator.raw_operator
    parts = trees_graph.parts_of(scope)
    rows = trees_graph.float64_rows(parts, operator, rounded=True)
    trees = []
    for estimator, features in zip(model.estimators_, model.estimators_features_, strict=True):
        # A leaf with several rows counts the further splits that would separate them on average.
        depths = _depths(estimator.tree_) + _average_path_length(estimator.tree_.n_node_samples)
        trees.append(trees_graph.sklearn_tree(estimator, depths, features))
    depth = add_sum(parts, rows, trees, [0] * len(trees), 1)
    usual = len(trees) * _average_path_length([model.max_samples_])[0]
    # A single training row has no depth; scikit-learn then takes 1 as the quotient.
    quotient = parts.add("Div", depth, parts.constant(usual, np.float64))
    if usual == 0:
        zero = parts.constant(0.0, np.float64)
        quotient = parts.add("Add", parts.add("Mul", depth, zero), parts.constant(1.0))
    two = parts.constant(2.0, np.float64)
    scores = parts.add("Neg", parts.add("Pow", two, parts.add("Neg", quotient)))
    decision = parts.add("Sub", scores, parts.constant(model.offset_, np.float64))
    outlier = parts.add("Less", decision, parts.constant(-_ROUNDING, np.float64))
    minus, plus = (parts.constant(each, np.int64) for each in (-1, 1))
    label, distance, *asked = operator.outputs
    parts.add("Where", outlier, minus, plus, output=label.full_name)
    trees_graph.result(parts, decision, distance)
    for each in asked:
        trees_graph.result(parts, scores, each)
    trees_graph.put(parts, container)


def _depths(tree: Any) -> np.ndarray:
    """Return the number of splits above each node; scikit-learn numbers parents before children."""
    depths = np.zeros(tree.node_count)
    for node in np.flatnonzero(tree.children_left >= 0):
        depths[[tree.children_left[node], tree.children_right[node]]] = depths[node] + 1
    return depths


def _random_trees_embedding(scope: Any, operator: Any, container: Any) -> None:
    """Write one column for each leaf that training rows fell in, tree after tree; dense."""
    model = operator.raw_operator
    parts = trees_graph.parts_of(scope)
    rows = trees_graph.float64_rows(parts, operator, rounded=True)
    trees, columns, known = [], [], 0
    for estimator, leaves in zip(
        model.estimators_, model.one_hot_encoder_.categories_, strict=True
    ):
        column = np.zeros(estimator.tree_.node_count, np.int64)
        column[leaves.astype(np.int64)] = known + np.arange(len(leaves))
        known += len(leaves)
        trees.append(trees_graph.sklearn_tree(estimator, np.ones(len(column))))
        columns.append(column)
    encoded = add_leaf_indicators(parts, rows, trees, columns, known)
    trees_graph.result(parts, encoded, operator.outputs[0])
    trees_graph.put(parts, container)
