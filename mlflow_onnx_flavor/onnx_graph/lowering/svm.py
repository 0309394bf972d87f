"""Support vector machines: kernels with every support vector, in float32 as in the standard."""

from __future__ import annotations

from typing import Any

import numpy as np

from mlflow_onnx_flavor.onnx_graph.lowering.base import Lowered, MlNode
from mlflow_onnx_flavor.onnx_graph.lowering.linear import FLOAT, rows_in_float32
from mlflow_onnx_flavor.onnx_graph.lowering.scores import beside_the_other, transformed

# With more features than this, one node adds up the squares, in an order that the runtime chooses.
_FEATURES_ADDED_IN_ORDER = 256


def _kernel(
    graph: Lowered, node: MlNode, rows: str, vectors: np.ndarray, kind: str, constant: float
) -> str:
    """Return the kernel of each row with each of ``vectors``, shape (rows, vectors).

    ``constant``: the number that a linear kernel adds.
    """
    gamma, coef0, degree = (*(node.get("kernel_params") or []), 0.0, 0.0, 0.0)[:3]
    if kind == "RBF":
        squares = _squared_distances(graph, rows, vectors)
        return graph.add("Exp", graph.add("Mul", graph.constant(-gamma, FLOAT), squares))
    alpha, added = (1.0, constant) if kind == "LINEAR" else (gamma, coef0)
    operands = [rows, graph.constant(vectors, FLOAT)]
    if added:
        operands.append(graph.constant([added], FLOAT))
    product = graph.add("Gemm", *operands, transB=1, alpha=alpha)
    if kind == "SIGMOID":
        return graph.add("Tanh", product)
    if kind == "LINEAR":
        return product
    if degree in (2, 3):
        square = graph.add("Mul", product, product)
        return square if degree == 2 else graph.add("Mul", square, product)
    return graph.add("Pow", product, graph.constant(degree, FLOAT))


def _squared_distances(graph: Lowered, rows: str, vectors: np.ndarray) -> str:
    features = vectors.shape[1]
    if features > _FEATURES_ADDED_IN_ORDER:
        apart = graph.add("Unsqueeze", rows, graph.constant([1], np.int64))
        apart = graph.add("Sub", apart, graph.constant(vectors[None], FLOAT))
        square = graph.add("Mul", apart, apart)
        return graph.add("ReduceSum", square, graph.constant([2], np.int64), keepdims=0)
    squares = []
    for feature, column in enumerate(graph.splits(rows, features)):
        apart = graph.add("Sub", column, graph.constant(vectors[None, :, feature], FLOAT))
        squares.append(graph.add("Mul", apart, apart))
    return graph.total(*squares)


def regressor(node: MlNode, graph: Lowered) -> None:
    """Rewrite SVMRegressor."""
    rows = rows_in_float32(graph, node)
    coefficients, rho = node.numbers("coefficients"), node.numbers("rho")
    supports = node.get("n_supports", 0)
    if supports:
        vectors = node.numbers("support_vectors").reshape(supports, -1)
        kernels = _kernel(graph, node, rows, vectors, node.get("kernel_type", "LINEAR"), 0.0)
        answer = graph.add(
            "Gemm",
            kernels,
            graph.constant(coefficients.reshape(1, -1), FLOAT),
            graph.constant(rho[:1], FLOAT),
            transB=1,
        )
    else:
        answer = _kernel(graph, node, rows, coefficients.reshape(1, -1), "LINEAR", float(rho[0]))
    if node.get("one_class", 0):
        inside = graph.add("Greater", answer, graph.constant(0, FLOAT))
        answer = graph.add("Where", inside, graph.constant(1, FLOAT), graph.constant(-1, FLOAT))
    graph.output(node.outputs[0], answer, FLOAT)


def classifier(node: MlNode, graph: Lowered) -> None:
    """Rewrite SVMClassifier; refuse one that estimates probabilities by iteration."""
    if node.get("prob_a"):
        raise node.refuse("estimates probabilities by iterating until they settle")
    classes = node.get("classlabels_strings") or node.get("classlabels_ints")
    per_class = node.get("vectors_per_class") or []
    if sum(per_class):
        _by_votes(node, graph, list(classes), per_class)
    else:
        _by_scores(node, graph, list(classes))


def _by_votes(node: MlNode, graph: Lowered, classes: list, per_class: list[int]) -> None:
    vectors = node.numbers("support_vectors").reshape(sum(per_class), -1)
    kind = node.get("kernel_type", "LINEAR")
    kernels = _kernel(graph, node, rows_in_float32(graph, node), vectors, kind, 0.0)
    coefficients = node.numbers("coefficients").reshape(-1, sum(per_class))
    begins = np.cumsum([0, *per_class])
    scores = []
    votes: list[list[Any]] = [[] for _ in classes]
    rho = iter(node.numbers("rho"))
    for i in range(len(classes) - 1):
        for j in range(i + 1, len(classes)):
            weights = np.zeros(sum(per_class), np.float32)
            weights[begins[i] : begins[i + 1]] = coefficients[j - 1, begins[i] : begins[i + 1]]
            weights[begins[j] : begins[j + 1]] = coefficients[i, begins[j] : begins[j + 1]]
            products = graph.add("Mul", kernels, graph.constant(weights[None], FLOAT))
            # ONNX Runtime adds up products of float32 in float64.
            total = graph.add(
                "ReduceSum", graph.cast(products, np.float64), graph.constant([1], np.int64)
            )
            total = graph.add("Add", total, graph.constant(next(rho), np.float64))
            wins = graph.cast(graph.add("Greater", total, graph.constant(0, np.float64)), np.int64)
            votes[i].append(wins)
            votes[j].append(graph.add("Sub", graph.constant(1, np.int64), wins))
            scores.append(graph.cast(total, np.float32))
    counted = graph.side_by_side(*(_added(graph, each) for each in votes))
    graph.label_output(node.outputs[0], graph.add("ArgMax", counted, axis=1, keepdims=0), classes)
    transform = node.get("post_transform", "NONE")
    if len(classes) > 2:
        graph.output(node.outputs[1], transformed(graph, scores, transform, FLOAT), FLOAT)
        return
    if transform == "PROBIT":
        raise node.refuse("makes a second class by PROBIT")
    if transform == "NONE":
        both = graph.side_by_side(graph.add("Neg", scores[0]), scores[0])
    else:
        both = beside_the_other(graph, scores[0], transform, FLOAT)
    graph.output(node.outputs[1], both, FLOAT)


def _added(graph: Lowered, counts: list[str]) -> str:
    """Add up whole numbers; the operator Sum accepts floats only."""
    total = counts[0]
    for each in counts[1:]:
        total = graph.add("Add", total, each)
    return total


def _by_scores(node: MlNode, graph: Lowered, classes: list) -> None:
    coefficients = node.numbers("coefficients").reshape(len(classes), -1)
    rho = float(node.numbers("rho")[0])
    raw = _kernel(graph, node, rows_in_float32(graph, node), coefficients, "LINEAR", rho)
    best = graph.add("ArgMax", raw, axis=1, keepdims=0)
    if len(classes) == 2:
        least = 0.5 if (coefficients >= 0).all() else 0.0
        compare = "GreaterOrEqual" if least else "Greater"
        either = graph.add("Max", *graph.splits(raw, 2))
        wins = graph.flat(graph.add(compare, either, graph.constant(least, FLOAT)))
        best = graph.add("Where", wins, graph.constant(1, np.int64), best)
    graph.label_output(node.outputs[0], best, classes)
    transform = node.get("post_transform", "NONE")
    columns = graph.splits(raw, len(classes))
    graph.output(node.outputs[1], transformed(graph, columns, transform, FLOAT), FLOAT)


RULES = {"SVMClassifier": classifier, "SVMRegressor": regressor}
