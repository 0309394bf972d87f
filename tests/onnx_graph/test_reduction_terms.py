"""How many numbers a graph adds up, from the file."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from mlflow_onnx_flavor.onnx_graph.reduction_terms import terms


def graph(nodes, weights=(), inputs=("x",)):
    def value(name):
        return helper.make_tensor_value_info(name, TensorProto.FLOAT, None)

    initializers = [numpy_helper.from_array(np.zeros(s, np.float32), n) for n, s in weights]
    return helper.make_graph(nodes, "g", [value(n) for n in inputs], [value("y")], initializers)


def node(kind, *inputs, **attributes):
    return helper.make_node(kind, list(inputs), ["y"], **attributes)


@pytest.mark.parametrize(
    ("made", "weights", "expected"),
    [
        (node("MatMul", "x", "w"), [("w", (30, 4))], 30),
        (node("MatMul", "w", "x"), [("w", (4, 30))], 30),
        (node("Gemm", "x", "w", "b", transB=1), [("w", (4, 30)), ("b", (4,))], 30),
        (node("Conv", "x", "w"), [("w", (8, 3, 5, 5))], 75),
        (node("ConvTranspose", "x", "w"), [("w", (8, 3, 2, 2))], 32),
        (node("LSTM", "x", "w", "r"), [("w", (1, 40, 7)), ("r", (1, 40, 10))], 17),
        (node("MatMul", "x", "x"), [], 64),
        (node("Softmax", "x"), [], 64),
        (node("Relu", "x"), [], 0),
        (node("LinearRegressor", "x", coefficients=[1.0, 2.0, 3.0]), [], 3),
        (node("TreeEnsembleRegressor", "x", nodes_treeids=[0, 0, 0, 1, 1, 2]), [], 3),
        (node("TreeEnsemble", "x", tree_roots=[0, 3, 9]), [], 3),
    ],
)
def test_terms_of_one_node(made, weights, expected):
    assert terms(graph([made], weights)) == expected


def test_terms_add_up_also_within_branches():
    product = node("MatMul", "x", "w")
    arms = {name: graph([product], inputs=()) for name in ("then_branch", "else_branch")}
    chosen = helper.make_node("If", ["x"], ["y"], **arms)
    assert terms(graph([product, chosen], [("w", (30, 4))])) == 90


def test_weights_may_be_constants():
    weights = numpy_helper.from_array(np.zeros((30, 4), np.float32))
    constant = helper.make_node("Constant", [], ["w"], value=weights)
    assert terms(graph([constant, node("MatMul", "x", "w")])) == 30
