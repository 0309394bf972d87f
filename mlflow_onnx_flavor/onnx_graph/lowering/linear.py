"""Linear models: a product with the coefficients, in float32 as in the standard."""

from __future__ import annotations

import numpy as np

from mlflow_onnx_flavor.onnx_graph.lowering.base import Lowered, MlNode
from mlflow_onnx_flavor.onnx_graph.lowering.scores import beside_the_other, transformed

FLOAT = np.dtype(np.float32)


def rows_in_float32(graph: Lowered, node: MlNode) -> str:
    """Return the node's first input, cast to float32 if it has another dtype."""
    return node.inputs[0] if node.dtype == FLOAT else graph.cast(node.inputs[0], FLOAT)


def _raw(graph: Lowered, node: MlNode, targets: int) -> str:
    coefficients = node.numbers("coefficients").astype(np.float32).reshape(targets, -1)
    operands = [rows_in_float32(graph, node), graph.constant(coefficients)]
    intercepts = node.numbers("intercepts").astype(np.float32)
    if len(intercepts):
        operands.append(graph.constant(intercepts))
    return graph.add("Gemm", *operands, transB=1)


def regressor(node: MlNode, graph: Lowered) -> None:
    """Rewrite LinearRegressor."""
    targets = node.get("targets", 1)
    columns = [_raw(graph, node, targets)]
    transform = node.get("post_transform", "NONE")
    if transform != "NONE" and targets > 1:
        columns = graph.splits(columns[0], targets)
    if transform == "NONE" or targets > 1 or transform == "PROBIT":
        graph.output(node.outputs[0], transformed(graph, columns, transform, FLOAT), FLOAT)
    else:  # ONNX Runtime transforms a single score only by PROBIT
        graph.output(node.outputs[0], columns[0], FLOAT)


def classifier(node: MlNode, graph: Lowered) -> None:
    """Rewrite LinearClassifier; refuse one without intercepts."""
    classes = node.get("classlabels_strings") or node.get("classlabels_ints") or []
    targets = len(node.get("intercepts") or [])
    if not targets:
        raise node.refuse("has no intercepts")
    raw = _raw(graph, node, targets)
    transform = node.get("post_transform", "NONE")
    if targets > 1:
        graph.label_output(
            node.outputs[0], graph.add("ArgMax", raw, axis=1, keepdims=0), list(classes)
        )
        scores = transformed(graph, graph.splits(raw, targets), transform, FLOAT)
        graph.output(node.outputs[1], scores, FLOAT)
        return
    goes = graph.flat(graph.add("Greater", raw, graph.constant(0, FLOAT)))
    strings = bool(node.get("classlabels_strings"))
    known = list(classes) if len(classes) == 2 else ["0", "1"] if strings else [0, 1]
    graph.label_output(node.outputs[0], graph.cast(goes, np.int64), known)
    if len(classes) == 2:
        if transform == "PROBIT":
            raise node.refuse("makes a second class by PROBIT")
        scores = beside_the_other(graph, raw, transform, FLOAT)
    else:
        scores = transformed(graph, [raw], transform, FLOAT) if transform == "PROBIT" else raw
    graph.output(node.outputs[1], scores, FLOAT)


RULES = {"LinearClassifier": classifier, "LinearRegressor": regressor}
