"""The splits of a tree ensemble in an ONNX graph, each with the path that leads there."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

# An interval of a feature's values: above the first, up to and including the second.
Interval = tuple[float, float]
_ANY: Interval = (-np.inf, np.inf)

_ORDERED = {b"BRANCH_LEQ", b"BRANCH_LT", 0, 1}
_LEAF = b"LEAF"


@dataclass(frozen=True)
class Split:
    """A split; ``way``: the intervals of the features before it that lead a row there."""

    feature: int
    threshold: float
    way: Mapping[int, Interval]


@dataclass(frozen=True)
class _Node:
    feature: int
    threshold: float
    ordered: bool
    children: tuple[Any, Any]  # the nodes if the test holds, and if not; None for a leaf


def splits_of(node: Any) -> Iterator[Split]:
    """Yield every split of a TreeEnsemble, TreeEnsembleClassifier or TreeEnsembleRegressor node."""
    attributes = {each.name: each for each in node.attribute}
    reader = _of_version_5 if node.op_type == "TreeEnsemble" else _of_version_3
    nodes, roots = reader(attributes)
    for root in roots:
        yield from _below(nodes, root)


def _below(nodes: Mapping[Any, _Node], root: Any) -> Iterator[Split]:
    waiting: list[tuple[Any, dict[int, Interval]]] = [(root, {})]
    while waiting:
        key, way = waiting.pop()
        node = nodes.get(key)
        if node is None:
            continue
        if node.ordered and np.isfinite(node.threshold):
            yield Split(node.feature, node.threshold, way)
        low, high = way.get(node.feature, _ANY)
        holds, fails = dict(way), dict(way)
        if node.ordered:
            holds[node.feature] = (low, min(high, node.threshold))
            fails[node.feature] = (max(low, node.threshold), high)
        waiting += zip(node.children, (holds, fails), strict=True)


def _of_version_3(attributes: Mapping[str, Any]) -> tuple[dict[Any, _Node], list[Any]]:
    trees, numbers = (list(attributes[f"nodes_{n}"].ints) for n in ("treeids", "nodeids"))
    modes = list(attributes["nodes_modes"].strings)
    thresholds = _numbers(attributes, "nodes_values")
    features = attributes["nodes_featureids"].ints
    holds, fails = (attributes[f"nodes_{n}"].ints for n in ("truenodeids", "falsenodeids"))
    nodes: dict[Any, _Node] = {}
    roots: dict[int, tuple[int, int]] = {}
    for at, (tree, number) in enumerate(zip(trees, numbers, strict=True)):
        roots.setdefault(tree, (tree, number))
        if modes[at] != _LEAF:
            children = (tree, holds[at]), (tree, fails[at])
            ordered = modes[at] in _ORDERED
            nodes[tree, number] = _Node(features[at], float(thresholds[at]), ordered, children)
    return nodes, list(roots.values())


def _of_version_5(attributes: Mapping[str, Any]) -> tuple[dict[Any, _Node], list[Any]]:
    thresholds, modes = (_numbers(attributes, name) for name in ("nodes_splits", "nodes_modes"))
    features = attributes["nodes_featureids"].ints
    to = {side: attributes[f"nodes_{side}nodeids"].ints for side in ("true", "false")}
    is_leaf = {side: attributes[f"nodes_{side}leafs"].ints for side in ("true", "false")}

    def _child(side: str, at: int) -> int | None:
        return None if is_leaf[side][at] else to[side][at]

    nodes = {
        at: _Node(
            features[at],
            float(thresholds[at]),
            int(modes[at]) in _ORDERED,
            (_child("true", at), _child("false", at)),
        )
        for at in range(len(features))
    }
    return nodes, list(attributes["tree_roots"].ints)


def _numbers(attributes: Mapping[str, Any], name: str) -> np.ndarray:
    import onnx

    tensor = attributes.get(f"{name}_as_tensor") or attributes[name]
    if tensor.HasField("t"):
        return onnx.numpy_helper.to_array(tensor.t)
    return np.array(tensor.floats)
