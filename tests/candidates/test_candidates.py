"""Candidates: what is built runs, what cannot be built says why."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper, numpy_helper

from mlflow_onnx_flavor import candidates
from mlflow_onnx_flavor.candidates.base import CandidateError
from mlflow_onnx_flavor.errors import ConfigurationError
from mlflow_onnx_flavor.graph_spec import FeedSpec, GraphSpec, PredictionPart, PredictionSpec

SPEC = GraphSpec(
    feeds=(FeedSpec(name="x", layout="tensor", dtype="float32"),),
    prediction=PredictionSpec(
        container="ndarray", parts=(PredictionPart(output="y", dtype="float32", shape=(8,)),)
    ),
    outputs=("y",),
)


def graph(path, *nodes, weights=()):
    model = helper.make_model(
        helper.make_graph(
            list(nodes),
            "g",
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["rows", 16])],
            [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["rows", None])],
            [numpy_helper.from_array(array, name) for name, array in weights],
        ),
        opset_imports=[helper.make_opsetid("", 18)],
        ir_version=10,
    )
    onnx.save_model(model, str(path))
    return path


@pytest.fixture
def dense(tmp_path):
    """x @ w + b, then relu: a product to quantize, and a constant sum to fold."""
    generator = np.random.default_rng(0)
    return graph(
        tmp_path / "dense.onnx",
        helper.make_node("Add", ["b1", "b2"], ["b"]),
        helper.make_node("MatMul", ["x", "w"], ["m"]),
        helper.make_node("Add", ["m", "b"], ["s"]),
        helper.make_node("Relu", ["s"], ["y"]),
        weights=[
            ("w", generator.normal(size=(16, 8)).astype(np.float32)),
            ("b1", np.ones(8, np.float32)),
            ("b2", np.ones(8, np.float32)),
        ],
    )


def run(path):
    rows = np.random.default_rng(1).normal(size=(20, 16)).astype(np.float32)
    return ort.InferenceSession(str(path)).run(None, {"x": rows})[0]


@pytest.mark.parametrize(("name", "tolerance"), [("fused", 1e-5), ("int8_dynamic", 0.3)])
def test_a_built_candidate_runs_and_is_near_the_converted_model(name, tolerance, dense, tmp_path):
    built = candidates.build(name, dense, SPEC, tmp_path / name)
    assert built.name == name and built.description and built.graph == SPEC
    np.testing.assert_allclose(run(built.path), run(dense), atol=tolerance)
    assert not np.array_equal(built.path.read_bytes(), dense.read_bytes())


def test_a_graph_with_nothing_to_do_is_refused_with_the_reason(tmp_path):
    plain = graph(tmp_path / "m.onnx", helper.make_node("Relu", ["x"], ["y"]))
    with pytest.raises(CandidateError, match="nothing to quantize: the graph is Relu"):
        candidates.build("int8_dynamic", plain, SPEC, tmp_path / "a")
    with pytest.raises(CandidateError, match="nothing to fuse"):
        candidates.build("fused", plain, SPEC, tmp_path / "b")


def test_a_file_that_cannot_be_read_is_one_line(tmp_path):
    (tmp_path / "m.onnx").write_bytes(b"no model")
    with pytest.raises(CandidateError) as caught:
        candidates.build("fused", tmp_path / "m.onnx", SPEC, tmp_path / "a")
    assert "\n" not in str(caught.value)


def test_an_unknown_name_comes_with_the_nearest():
    with pytest.raises(
        ConfigurationError, match="unknown candidate 'fussed'; did you mean 'fused'"
    ):
        candidates.check_names(["converted", "fussed"])
