"""Decision trees as ONNX: the operator `TreeEnsemble` of ai.onnx.ml 5, always in float64.

Its predecessors hold thresholds in float32, so that a row near a threshold of float64 takes the
wrong branch.  Here every threshold and leaf is the source's own number, and comparing in float64
costs no time: if a source compares in float32, its rows are rounded to float32 first and are then
compared exactly.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from mlflow_onnx_flavor.onnx_graph.builder import GraphParts

# The operator's own numbers of the comparisons; "not equal" (5) sends NaN to the wrong branch.
LEQ, LT, GTE, GT, EQ, MEMBER = 0, 1, 2, 3, 4, 6
_SUM, _NO_TRANSFORM = 1, 0

# Leaf vectors are looked up for this many numbers of a row at once, 4 KB as float64; more trees are
# looked up in groups.
_LOOKED_UP_AT_ONCE = 512


@dataclass(frozen=True)
class Tree:
    """One binary tree as arrays over its nodes; node 0 is the root.

    A row goes to ``true_child`` where ``row[feature] MODE threshold`` holds, and to ``false_child``
    otherwise; both are -1 at a leaf.  NaN goes to the true child where ``missing_true``.
    ``value``: shape (nodes, outputs), read at leaves.  ``members``: node -> the values of which a
    MEMBER node's feature must be one; they must be whole, and so must the feature's, since
    onnxruntime packs sets into bits and then cuts fractions off.
    """

    feature: np.ndarray
    threshold: np.ndarray
    mode: np.ndarray
    true_child: np.ndarray
    false_child: np.ndarray
    missing_true: np.ndarray
    value: np.ndarray
    members: Mapping[int, Sequence[float]] = field(default_factory=dict)

    @property
    def outputs(self) -> int:
        """Return the number of outputs of a leaf."""
        return self.value.shape[1]


def add_sum(
    graph: GraphParts, rows: str, trees: Sequence[Tree], targets: Sequence[int], n_targets: int
) -> str:
    """Add the sum of the trees' single values, float64 of shape (rows, n_targets).

    ``rows``: float64 of shape (rows, features).  ``targets``: the column each tree adds to.
    """
    if not trees:
        return _zeros(graph, rows, n_targets)
    operands = _Operands()
    for tree, target in zip(trees, targets, strict=True):
        operands.append(tree, np.full(len(tree.value), target), tree.value[:, 0])
    return _node(graph, rows, operands, n_targets)


def add_vector_sum(graph: GraphParts, rows: str, trees: Sequence[Tree]) -> str:
    """Add the sum of the trees' leaf vectors, float64 of shape (rows, outputs).

    A leaf of the operator holds one number for one column.  Giving each column its own copy of the
    trees takes as many times longer, so each tree returns the number of the leaf that a row
    reached, and the vectors are looked up by it.
    """
    outputs = trees[0].outputs
    if outputs == 1:
        return add_sum(graph, rows, trees, [0] * len(trees), 1)
    at_once = max(1, _LOOKED_UP_AT_ONCE // outputs)
    groups = [trees[start : start + at_once] for start in range(0, len(trees), at_once)]
    sums = [_looked_up(graph, rows, group) for group in groups]
    return sums[0] if len(sums) == 1 else graph.add("Sum", *sums)


def add_leaf_indicators(
    graph: GraphParts,
    rows: str,
    trees: Sequence[Tree],
    columns: Sequence[np.ndarray],
    n_columns: int,
) -> str:
    """Add an array in which each leaf adds its value to a column of its own.

    It is float64 of shape (rows, n_columns).  ``columns``: for each tree the column of each node,
    read at leaves.
    """
    operands = _Operands()
    for tree, column in zip(trees, columns, strict=True):
        operands.append(tree, column, tree.value[:, 0])
    return _node(graph, rows, operands, n_columns)


def _looked_up(graph: GraphParts, rows: str, trees: Sequence[Tree]) -> str:
    operands, vectors = _Operands(), []
    known = 0
    for position, tree in enumerate(trees):
        leaves = tree.true_child < 0
        numbers = np.zeros(len(leaves))
        numbers[leaves] = known + np.arange(leaves.sum())
        operands.append(tree, np.full(len(leaves), position), numbers)
        vectors.append(tree.value[leaves])
        known += leaves.sum()
    leaf = graph.cast(_node(graph, rows, operands, len(trees)), np.int64)
    table = graph.constant(np.concatenate(vectors), np.float64)
    return graph.add(
        "ReduceSum",
        graph.add("Gather", table, leaf, axis=0),  # (rows, trees, outputs)
        graph.constant([1], np.int64),
        keepdims=0,
    )


def _zeros(graph: GraphParts, rows: str, n_targets: int) -> str:
    count = graph.add("Shape", rows, start=0, end=1)
    shape = graph.add("Concat", count, graph.constant([n_targets], np.int64), axis=0)
    return graph.add("Expand", graph.constant(0.0, np.float64), shape)


class _Operands:
    """The operator's attributes, tree after tree: inner nodes and leaves are numbered apart."""

    def __init__(self) -> None:
        self._columns: dict[str, list[np.ndarray]] = {}
        self.roots: list[int] = []
        self.members: list[float] = []
        self._nodes = self._leaves = 0

    def append(self, tree: Tree, targets: np.ndarray, weights: np.ndarray) -> None:
        """Append a tree; ``targets`` and ``weights``: those of each node, read at its leaves."""
        is_leaf = tree.true_child < 0
        inner, leaves = np.flatnonzero(~is_leaf), np.flatnonzero(is_leaf)
        numbers = np.empty(len(is_leaf), np.int64)
        numbers[inner] = self._nodes + np.arange(len(inner))
        numbers[leaves] = self._leaves + np.arange(len(leaves))
        self.roots.append(self._nodes)
        if len(inner):
            true, false = tree.true_child[inner], tree.false_child[inner]
            mode, threshold = tree.mode.copy(), np.asarray(tree.threshold, np.float64).copy()
            for node in inner[tree.mode[inner] == MEMBER].tolist():
                if len(tree.members[node]):
                    self.members += [*map(float, tree.members[node]), np.nan]  # NaN ends a set
                else:  # onnxruntime refuses an empty set; no number is in this one either
                    mode[node], threshold[node] = LT, -np.inf
            self._extend(
                nodes_featureids=tree.feature[inner],
                nodes_splits=threshold[inner],
                nodes_modes=mode[inner],
                nodes_missing_value_tracks_true=tree.missing_true[inner],
                nodes_truenodeids=numbers[true],
                nodes_trueleafs=is_leaf[true],
                nodes_falsenodeids=numbers[false],
                nodes_falseleafs=is_leaf[false],
            )
        else:
            self._extend_with_lone_leaf(numbers[leaves[:1]])
        self._extend(leaf_targetids=targets[leaves], leaf_weights=weights[leaves])
        self._nodes += max(len(inner), 1)
        self._leaves += len(leaves)

    def _extend_with_lone_leaf(self, leaf: np.ndarray) -> None:
        """Append a tree of one leaf: a tree needs a node, so both of its branches are the leaf."""
        zero, one = np.zeros(1, np.int64), np.ones(1, np.int64)
        self._extend(
            nodes_featureids=zero,
            nodes_splits=zero,
            nodes_modes=zero + LEQ,
            nodes_missing_value_tracks_true=zero,
            nodes_truenodeids=leaf,
            nodes_trueleafs=one,
            nodes_falsenodeids=leaf,
            nodes_falseleafs=one,
        )

    def _extend(self, **columns: np.ndarray) -> None:
        for name, values in columns.items():
            self._columns.setdefault(name, []).append(values)

    def attributes(self) -> dict[str, Any]:
        from onnx import numpy_helper

        whole = {name: np.concatenate(parts) for name, parts in self._columns.items()}
        tensors = {"nodes_splits": np.float64, "nodes_modes": np.uint8, "leaf_weights": np.float64}
        found: dict[str, Any] = {
            name: numpy_helper.from_array(values.astype(tensors[name]), name)
            if name in tensors
            else values.astype(np.int64).tolist()
            for name, values in whole.items()
        }
        if self.members:
            found["membership_values"] = numpy_helper.from_array(np.array(self.members, np.float64))
        return found


def _node(graph: GraphParts, rows: str, operands: _Operands, n_targets: int) -> str:
    return graph.ml(
        "TreeEnsemble",
        rows,
        tree_roots=operands.roots,
        n_targets=n_targets,
        aggregate_function=_SUM,
        post_transform=_NO_TRANSFORM,
        **operands.attributes(),
    )
