"""Where trees split by input column, and how many tokens are embedded."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from mlflow_onnx_flavor.onnx_graph.facts import graph_facts


def tensor(name, shape, kind=TensorProto.FLOAT):
    return helper.make_tensor_value_info(name, kind, shape)


def saved(folder, nodes, inputs, weights=()):
    initializers = [numpy_helper.from_array(array, name) for name, array in weights]
    graph = helper.make_graph(nodes, "g", inputs, [tensor("y", None)], initializers)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)])
    onnx.save(model, folder / "m.onnx")
    return folder / "m.onnx"


def tree(given):
    return helper.make_node(
        "TreeEnsembleRegressor",
        [given],
        ["y"],
        domain="ai.onnx.ml",
        nodes_treeids=[0] * 5,
        nodes_nodeids=[0, 1, 2, 3, 4],
        nodes_featureids=[2, 0, 0, 0, 0],
        nodes_values=[1.5, -3.0, 0.0, 0.0, 0.0],
        nodes_modes=["BRANCH_LEQ", "BRANCH_LEQ", "LEAF", "LEAF", "LEAF"],
        nodes_truenodeids=[1, 3, 0, 0, 0],
        nodes_falsenodeids=[2, 4, 0, 0, 0],
    )


def test_splits_belong_to_the_columns_that_a_tree_sees(tmp_path):
    nodes = [
        helper.make_node("Concat", ["a", "m"], ["both"], axis=1),
        helper.make_node("Cast", ["both"], ["cast"], to=TensorProto.DOUBLE),
        tree("cast"),
    ]
    facts = graph_facts(saved(tmp_path, nodes, [tensor("a", [None, 1]), tensor("m", [None, 3])]))
    root, below = facts.splits
    assert (root.column, root.threshold, root.way) == (("m", 1), 1.5, {})
    assert (below.column, below.threshold) == (("a", 0), -3.0)
    assert below.way == {("m", 1): (-np.inf, 1.5)}


def test_what_was_computed_before_is_no_column(tmp_path):
    nodes = [helper.make_node("Mul", ["x", "x"], ["square"]), tree("square")]
    assert graph_facts(saved(tmp_path, nodes, [tensor("x", [None, 3])])).splits == ()


def test_the_vocabulary_is_the_length_of_the_embedding(tmp_path):
    nodes = [
        helper.make_node("Cast", ["ids"], ["cast"], to=TensorProto.INT64),
        helper.make_node("Gather", ["table", "cast"], ["y"]),
    ]
    inputs = [tensor("ids", [None, None], TensorProto.INT32)]
    file = saved(tmp_path, nodes, inputs, [("table", np.zeros((99, 4), np.float32))])
    assert graph_facts(file).vocabularies == {"ids": 99}
