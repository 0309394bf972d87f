"""The number of terms that a graph adds up on the way to its answer, read from its structure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from math import prod
from typing import Any

Shapes = Mapping[str, tuple[int, ...]]

# The assumed length of a sum over an input whose size the file does not tell.
_NOT_TOLD = 64

_OF_ITS_INPUT = frozenset(
    {
        "Attention",
        "GlobalAveragePool",
        "GroupNormalization",
        "InstanceNormalization",
        "LayerNormalization",
        "LogSoftmax",
        "ReduceL1",
        "ReduceL2",
        "ReduceLogSumExp",
        "ReduceMean",
        "ReduceSum",
        "ReduceSumSquare",
        "RMSNormalization",
        "Softmax",
    }
)
_TREES = frozenset({"TreeEnsembleClassifier", "TreeEnsembleRegressor"})
_SUPPORT_VECTORS = frozenset({"SVMClassifier", "SVMRegressor"})


def terms(graph: Any) -> int:
    """Return the lengths of all nodes' sums, added up: an upper estimate, since some are parallel.

    ``graph``: an ONNX GraphProto, whose initializers need no values.
    """
    return sum(_of_graph(graph, {}))


def _of_graph(graph: Any, outer: Shapes) -> Iterator[int]:
    shapes = dict(outer) | {each.name: tuple(each.dims) for each in graph.initializer}
    for node in graph.node:
        for attribute in node.attribute:
            if node.op_type == "Constant" and attribute.name == "value":
                shapes[node.output[0]] = tuple(attribute.t.dims)
            if attribute.HasField("g"):
                yield from _of_graph(attribute.g, shapes)
        yield _of_node(node, shapes)


def _of_node(node: Any, shapes: Shapes) -> int:
    given = [shapes.get(name) for name in node.input]
    if node.op_type in ("MatMul", "Gemm"):
        return _of_product(node, given)
    if node.op_type == "Conv" and len(given) > 1:
        return prod(given[1][1:]) if given[1] else _NOT_TOLD
    if node.op_type == "ConvTranspose" and len(given) > 1:
        return given[1][0] * prod(given[1][2:]) if given[1] else _NOT_TOLD
    if node.op_type in ("LSTM", "GRU", "RNN"):
        return sum(each[-1] if each else _NOT_TOLD for each in given[1:3])
    if node.op_type in _OF_ITS_INPUT:
        return _NOT_TOLD
    if node.op_type in _TREES:
        return len(set(_attribute(node, "nodes_treeids")))
    if node.op_type == "TreeEnsemble":
        return len(_attribute(node, "tree_roots"))
    if node.op_type in ("LinearClassifier", "LinearRegressor"):
        return len(_attribute(node, "coefficients"))
    if node.op_type in _SUPPORT_VECTORS:
        return len(_attribute(node, "support_vectors"))
    return 0


def _of_product(node: Any, given: list[tuple[int, ...] | None]) -> int:
    left, right = given[0], given[1]
    if right and len(right) > 1:
        transposed = node.op_type == "Gemm" and any(_integer(node, "transB"))
        return right[-1] if transposed else right[-2]
    if left:
        return left[-1]
    return _NOT_TOLD


def _attribute(node: Any, name: str) -> list[Any]:
    return [
        value
        for attribute in node.attribute
        if attribute.name == name
        for value in (attribute.floats or attribute.ints)
    ]


def _integer(node: Any, name: str) -> Iterator[int]:
    return (attribute.i for attribute in node.attribute if attribute.name == name)
