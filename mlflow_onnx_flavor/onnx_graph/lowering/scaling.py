"""Scaling of numbers one by one or row by row: Scaler, Normalizer, Imputer, Binarizer."""

from __future__ import annotations

import numpy as np

from mlflow_onnx_flavor.onnx_graph.lowering.base import Lowered, MlNode

FLOAT = np.dtype(np.float32)


def scaler(node: MlNode, graph: Lowered) -> None:
    """Rewrite Scaler: (x - offset) * scale, rounded to float32 at the end.

    A float64 input is computed in float64, any other in float32.
    """
    rows, dtype = node.inputs[0], np.dtype(np.float64 if node.dtype == np.float64 else np.float32)
    if node.dtype != dtype:
        rows = graph.cast(rows, dtype)
    offset, scale = (graph.constant(node.numbers(each), dtype) for each in ("offset", "scale"))
    scaled = graph.add("Mul", graph.add("Sub", rows, offset), scale)
    graph.output(node.outputs[0], graph.cast(scaled, FLOAT), FLOAT)


def normalizer(node: MlNode, graph: Lowered) -> None:
    """Rewrite Normalizer: divide rows by their largest number, absolute sum or length.

    Rows of zeros stay as they are.
    """
    rows, kind = node.inputs[0], node.get("norm", "MAX")
    last, zero = graph.constant([-1], np.int64), graph.constant(0, FLOAT)
    values = rows if node.dtype == FLOAT else graph.cast(rows, FLOAT)
    if kind == "MAX":
        norm = _largest(graph, values)
    elif kind == "L1":
        sizes = graph.cast(graph.add("Abs", rows), FLOAT)
        norm = graph.add("ReduceSum", sizes, last)
    else:
        squares = graph.cast(graph.add("Mul", rows, rows), FLOAT)
        norm = graph.add("ReduceSum", squares, last)
        root = graph.add("Sqrt", graph.add("Div", squares, norm))
        negative = graph.add("Less", values, zero)
        divided = graph.add("Where", negative, graph.add("Neg", root), root)
    if kind != "L2":
        divided = graph.add("Div", values, norm)
    is_zero = graph.add("Equal", norm, zero)
    graph.output(node.outputs[0], graph.add("Where", is_zero, values, divided), FLOAT)


def _largest(graph: Lowered, values: str) -> str:
    """Return the largest number of each row; the opset decides where ReduceMax has its axes."""
    position = graph.add("ArgMax", values, axis=-1, keepdims=1)
    return graph.add("GatherElements", values, position, axis=-1)


def imputer(node: MlNode, graph: Lowered) -> None:
    """Rewrite Imputer: replace the missing value, NaN included, by one for all or each column."""
    rows = node.inputs[0]
    if node.dtype.kind == "f":
        values, missing = node.get("imputed_value_floats"), node.get("replaced_value_float", 0.0)
    else:
        values, missing = node.get("imputed_value_int64s"), node.get("replaced_value_int64", 0)
    if not values:
        raise node.refuse(f"has no value for {node.dtype}")
    if node.dtype.kind == "f" and np.isnan(missing):
        absent = graph.add("IsNaN", rows)
    else:
        absent = graph.add("Equal", rows, graph.constant(missing, node.dtype))
    replacement = graph.constant(values if len(values) > 1 else values[0], node.dtype)
    graph.output(node.outputs[0], graph.add("Where", absent, replacement, rows), node.dtype)


def binarizer(node: MlNode, graph: Lowered) -> None:
    """Rewrite Binarizer: 1 above the threshold, else 0."""
    threshold = graph.constant(node.get("threshold", 0.0), node.dtype)
    above = graph.add("Greater", node.inputs[0], threshold)
    graph.output(node.outputs[0], graph.cast(above, node.dtype), node.dtype)


RULES = {
    "Binarizer": binarizer,
    "Imputer": imputer,
    "Normalizer": normalizer,
    "Scaler": scaler,
}
