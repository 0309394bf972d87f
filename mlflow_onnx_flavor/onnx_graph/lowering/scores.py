"""Scores from raw scores: ``post_transform``, and the score of a second class from one.

The formulas are ONNX Runtime's own, in its order of operations.
"""

from __future__ import annotations

import numpy as np

from mlflow_onnx_flavor.onnx_graph.lowering.base import Lowered, MlNode

# The constants have the digits that ONNX Runtime's source has.
_ROOT_OF_TWO, _WINITZKI, _PI = 1.41421356, 0.147, 3.14159


def transformed(graph: Lowered, columns: list[str], transform: str, dtype: np.dtype) -> str:
    """Return the columns side by side after ``transform``, shape (rows, columns)."""
    matrix = graph.side_by_side(*columns)
    if transform == "LOGISTIC":
        return logistic(graph, matrix, dtype)
    if transform == "SOFTMAX":
        return softmax(graph, matrix, len(columns), dtype)
    if transform == "SOFTMAX_ZERO":
        return _softmax_zero(graph, matrix, len(columns), dtype)
    if transform == "PROBIT":
        return probit(graph, matrix, dtype)
    return matrix


def logistic(graph: Lowered, value: str, dtype: np.dtype) -> str:
    """Return 1 / (1 + exp(-x)), computed from exp(-|x|), which does not overflow."""
    one = graph.constant(1, dtype)
    small = graph.add("Exp", graph.add("Neg", graph.add("Abs", value)))
    above = graph.add("Div", one, graph.add("Add", one, small))
    negative = graph.add("Less", value, graph.constant(0, dtype))
    return graph.add("Where", negative, graph.add("Sub", one, above), above)


def softmax(graph: Lowered, matrix: str, columns: int, dtype: np.dtype) -> str:
    """Return the softmax of each row of ``matrix``, its powers added up in order."""
    powers = graph.add("Exp", graph.add("Sub", matrix, _largest(graph, matrix, columns)))
    return graph.add("Div", powers, graph.total(*graph.splits(powers, columns)))


def _softmax_zero(graph: Lowered, matrix: str, columns: int, dtype: np.dtype) -> str:
    """Return `softmax`, except that zeros stay zero."""
    largest = _largest(graph, matrix, columns)
    powers = graph.add("Exp", graph.add("Sub", matrix, largest))
    scaled = graph.add("Mul", matrix, graph.add("Exp", graph.add("Neg", largest)))
    counts = graph.add("Greater", graph.add("Abs", matrix), graph.constant(1e-7, dtype))
    parts = graph.add("Where", counts, powers, scaled)
    total = graph.total(*graph.splits(parts, columns))
    return graph.add("Div", parts, total)


def _largest(graph: Lowered, matrix: str, columns: int) -> str:
    parts = graph.splits(matrix, columns)
    return parts[0] if columns == 1 else graph.add("Max", *parts)


def probit(graph: Lowered, value: str, dtype: np.dtype) -> str:
    """Return the inverse of the normal distribution by Winitzki's inverse error function."""

    def number(amount: float) -> str:
        return graph.constant(amount, dtype)

    x = graph.add("Sub", graph.add("Mul", number(2), value), number(1))
    sign = graph.add("Where", graph.add("Less", x, number(0)), number(-1), number(1))
    product = graph.add("Mul", graph.add("Sub", number(1), x), graph.add("Add", number(1), x))
    log = graph.add("Log", product)
    v = graph.add("Add", number(2 / (_PI * _WINITZKI)), graph.add("Mul", number(0.5), log))
    v2 = graph.add("Mul", number(1 / _WINITZKI), log)
    root = graph.add("Sqrt", graph.add("Sub", graph.add("Mul", v, v), v2))
    inverse = graph.add("Mul", sign, graph.add("Sqrt", graph.add("Add", graph.add("Neg", v), root)))
    return graph.add("Mul", number(_ROOT_OF_TWO), inverse)


def beside_the_other(graph: Lowered, score: str, transform: str, dtype: np.dtype) -> str:
    """Return the score of the second class with the first's before it: 1 - score, or LOGISTIC."""
    if transform == "LOGISTIC":
        both = [graph.add("Neg", score), score]
        return graph.side_by_side(*(logistic(graph, each, dtype) for each in both))
    return graph.side_by_side(graph.add("Sub", graph.constant(1, dtype), score), score)


def two_classes(
    graph: Lowered,
    node: MlNode,
    positive: str,
    columns: list[str],
    classes: list[int] | list[str],
    *,
    is_binary: bool,
    threshold: float,
    transform: str,
    dtype: np.dtype,
) -> None:
    """Write the outputs of a classifier of one or two classes.

    ``positive``: the score that decides, by ``threshold``.  ``columns``: the raw scores; if there
    is one, the other is computed from it.  ``is_binary``: one class has scores and there are two.
    """
    goes = graph.flat(graph.add("Greater", positive, graph.constant(threshold, dtype)))
    if len(classes) == 2:
        graph.label_output(node.outputs[0], graph.cast(goes, np.int64), classes)
    else:
        raise node.refuse(f"has {len(classes)} class")
    if len(columns) == 1 and transform == "PROBIT":
        raise node.refuse("makes a second class by PROBIT")
    if len(columns) == 1 and is_binary:
        (score,) = columns
        if transform == "LOGISTIC" or threshold:
            scores = beside_the_other(graph, score, transform, dtype)
        else:
            scores = graph.side_by_side(graph.add("Neg", score), score)
    else:
        scores = transformed(graph, columns, transform, dtype)
    graph.output(node.outputs[1], graph.cast(scores, np.float32), np.float32)
