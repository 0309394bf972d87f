"""The precision that a graph declares is read from its file, wherever in the graph it stands."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from mlflow_onnx_flavor.errors import CorruptModelError
from mlflow_onnx_flavor.onnx_graph.precision import arithmetic_of

DOUBLE, FLOAT, HALF = TensorProto.DOUBLE, TensorProto.FLOAT, TensorProto.FLOAT16


def graph(path, nodes, kind, weights=(), functions=()):
    model = helper.make_model(
        helper.make_graph(
            nodes,
            "g",
            [helper.make_tensor_value_info("x", kind, ["rows", 2])],
            [helper.make_tensor_value_info("y", kind, ["rows", 2])],
            [numpy_helper.from_array(array, name) for name, array in weights],
        ),
        opset_imports=[helper.make_opsetid("", 18), helper.make_opsetid("ai.onnx.ml", 3)],
        functions=functions,
        ir_version=10,
    )
    onnx.save_model(model, str(path))
    return path


def casts(through, prefix=""):
    return [
        helper.make_node("Cast", ["x"], [f"{prefix}c"], to=through),
        helper.make_node("Cast", [f"{prefix}c"], [f"{prefix}y"], to=DOUBLE),
    ]


def test_a_graph_of_float64_alone_is_float64(tmp_path):
    nodes = [helper.make_node("MatMul", ["x", "w"], ["y"])]
    file = graph(tmp_path / "m.onnx", nodes, DOUBLE, [("w", np.eye(2))])
    assert arithmetic_of(file).dtype == "float64"


def test_inputs_of_float32_are_float32(tmp_path):
    nodes = [helper.make_node("Relu", ["x"], ["y"])]
    assert arithmetic_of(graph(tmp_path / "m.onnx", nodes, FLOAT)).dtype == "float32"


@pytest.mark.parametrize(("through", "found"), [(FLOAT, "float32"), (HALF, "float16")])
def test_a_narrower_step_inside_counts(through, found, tmp_path):
    assert arithmetic_of(graph(tmp_path / "m.onnx", casts(through), DOUBLE)).dtype == found


def test_bfloat16_is_half_precision(tmp_path):
    file = graph(tmp_path / "m.onnx", casts(TensorProto.BFLOAT16), DOUBLE)
    assert arithmetic_of(file).dtype == "float16"


def test_operators_that_give_float32_by_the_standard_count(tmp_path):
    nodes = [
        helper.make_node(
            "Scaler", ["x"], ["s"], domain="ai.onnx.ml", offset=[0.0, 0.0], scale=[1.0, 1.0]
        ),
        helper.make_node("Cast", ["s"], ["y"], to=DOUBLE),
    ]
    assert arithmetic_of(graph(tmp_path / "m.onnx", nodes, DOUBLE)).dtype == "float32"


def test_constants_count(tmp_path):
    nodes = [
        helper.make_node("Constant", [], ["c"], value_float=0.1),
        helper.make_node("CastLike", ["c", "x"], ["d"]),
        helper.make_node("Mul", ["x", "d"], ["y"]),
    ]
    assert arithmetic_of(graph(tmp_path / "m.onnx", nodes, DOUBLE)).dtype == "float32"


def test_subgraphs_and_functions_count(tmp_path):
    branch = helper.make_graph(
        casts(FLOAT, "b"), "b", [], [helper.make_tensor_value_info("by", DOUBLE, None)]
    )
    nodes = [
        helper.make_node("Constant", [], ["yes"], value=numpy_helper.from_array(np.array(True))),
        helper.make_node("If", ["yes"], ["y"], then_branch=branch, else_branch=branch),
    ]
    assert arithmetic_of(graph(tmp_path / "m.onnx", nodes, DOUBLE)).dtype == "float32"
    function = helper.make_function(
        "own", "narrow", ["x"], ["y"], casts(FLOAT), [helper.make_opsetid("", 18)]
    )
    calls = [helper.make_node("narrow", ["x"], ["y"], domain="own")]
    file = graph(tmp_path / "f.onnx", calls, DOUBLE, functions=[function])
    assert arithmetic_of(file).dtype == "float32"


def test_a_graph_without_floats_rounds_nothing(tmp_path):
    nodes = [helper.make_node("Identity", ["x"], ["y"])]
    assert arithmetic_of(graph(tmp_path / "m.onnx", nodes, TensorProto.INT64)).dtype == "float64"


def test_a_file_that_is_no_model_says_so(tmp_path):
    (tmp_path / "m.onnx").write_bytes(b"no model")
    with pytest.raises(CorruptModelError, match="not a readable ONNX file"):
        arithmetic_of(tmp_path / "m.onnx")
