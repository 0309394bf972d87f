"""LightGBM's trees with a linear model in each leaf (``linear_tree=True``).

Each leaf holds one vector: its constant and the coefficients of all features.  The sum of these
vectors over the trees is one linear model per row.  Positive and negative coefficients are kept
apart, so that infinite values of both signs give NaN, as they do tree by tree.  If a feature of a
leaf is missing, LightGBM uses the leaf's plain value instead, so each leaf tests for that first.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from mlflow_onnx_flavor.onnx_graph.builder import GraphParts
from mlflow_onnx_flavor.onnx_graph.tree_ensemble import LEQ, Tree, add_vector_sum


def with_linear_leaves(tree: Tree, fields: Mapping[str, str], target: int, shape: tuple) -> Tree:
    """Return ``tree`` with vectors of ``shape`` at its leaves, which must follow its nodes.

    ``fields``: the tree's lines in LightGBM's text.  ``target``: the output that the tree adds to.
    ``shape``: (outputs, 1 + 2 * features), first the constant, then positive coefficients, then
    negative ones.
    """
    leaves, features = np.flatnonzero(tree.true_child < 0), shape[1] // 2
    nodes = {name: list(getattr(tree, name)) for name in _OF_NODES}
    vectors: list[np.ndarray] = [np.zeros(shape) for _ in tree.feature]
    constants = [float(each) for each in fields["leaf_const"].split()]
    for leaf, constant, terms in zip(leaves, constants, _terms(fields), strict=True):
        plain = np.zeros(shape)
        plain[target, 0] = tree.value[leaf, 0]
        linear = np.zeros(shape)
        linear[target, 0] = constant
        at: int | np.integer = leaf
        for feature, coefficient in terms:
            linear[target, 1 + feature + (features if coefficient < 0 else 0)] = coefficient
            there, missing = _added(nodes, vectors, plain), _added(nodes, vectors, plain)
            asks = {"feature": feature, "threshold": np.inf, "mode": LEQ, "missing_true": False}
            for name, value in {**asks, "true_child": there, "false_child": missing}.items():
                nodes[name][at] = value
            at = there
        vectors[at] = linear
    return Tree(
        **{name: np.array(values) for name, values in nodes.items()},
        value=np.array(vectors).reshape(len(vectors), -1),
        members=tree.members,
    )


_OF_NODES = ("feature", "threshold", "mode", "true_child", "false_child", "missing_true")


def add_linear_sum(
    parts: GraphParts, read: str, rows: str, trees: Sequence[Tree], shape: tuple
) -> str:
    """Return the sum of the trees' linear models, float64 of shape (rows, outputs).

    ``read``: the rows as the trees read them; ``rows``: the rows as the linear models read them.
    """
    outputs, width = shape
    found = parts.add(
        "Reshape",
        add_vector_sum(parts, read, trees),
        parts.constant([-1, outputs, width], np.int64),
    )
    constant = parts.add("Gather", found, parts.constant(0, np.int64), axis=2)
    weights = parts.add("Gather", found, parts.constant(np.arange(1, width), np.int64), axis=2)
    twice = parts.add("Concat", rows, rows, axis=1)
    given = parts.add("Unsqueeze", twice, parts.constant([1], np.int64))
    # A feature that no leaf uses may be missing or infinite.
    zero = parts.constant(0.0, np.float64)
    terms = parts.add("Mul", weights, given)
    terms = parts.add("Where", parts.add("Equal", weights, zero), zero, terms)
    return parts.add(
        "Add", constant, parts.add("ReduceSum", terms, parts.constant([2], np.int64), keepdims=0)
    )


def _added(nodes: dict[str, list], vectors: list[np.ndarray], vector: np.ndarray) -> int:
    """Add a leaf with ``vector`` and return its number."""
    for name, value in zip(_OF_NODES, (0, 0.0, 0, -1, -1, False), strict=True):
        nodes[name].append(value)
    vectors.append(vector)
    return len(vectors) - 1


def _terms(fields: Mapping[str, str]) -> list[list[tuple[int, float]]]:
    """Return each leaf's features and their coefficients."""
    features = [int(each) for each in fields.get("leaf_features", "").split()]
    coefficients = [float(each) for each in fields.get("leaf_coeff", "").split()]
    pairs = list(zip(features, coefficients, strict=True))
    ends = np.cumsum([0] + [int(each) for each in fields["num_features"].split()])
    return [pairs[start:end] for start, end in zip(ends[:-1], ends[1:], strict=True)]
