"""Candidates: what is built runs, what cannot be built says why."""

from __future__ import annotations

import importlib
import os
import shutil
import signal

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper, numpy_helper

from mlflow_onnx_flavor import candidates
from mlflow_onnx_flavor.candidates.base import CandidateError
from mlflow_onnx_flavor.errors import ConfigurationError
from mlflow_onnx_flavor.processes.worker import Worker
from tests.builders import tensor_spec

SPEC = tensor_spec(8)


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
    """X @ w + b, then relu: a product to quantize, and a constant sum to fold."""
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


def branching(path):
    """X @ w + b if the sum of x is positive, else x @ w - b."""
    generator = np.random.default_rng(0)

    def branch(operator, prefix):
        return helper.make_graph(
            [
                helper.make_node("MatMul", ["x", "w"], [f"{prefix}m"]),
                helper.make_node(operator, [f"{prefix}m", "b"], [f"{prefix}y"]),
            ],
            prefix,
            [],
            [helper.make_tensor_value_info(f"{prefix}y", TensorProto.FLOAT, ["rows", 8])],
        )

    return graph(
        path,
        helper.make_node("ReduceSum", ["x"], ["sum"], keepdims=0),
        helper.make_node("Greater", ["sum", "zero"], ["positive"]),
        helper.make_node(
            "If",
            ["positive"],
            ["y"],
            then_branch=branch("Add", "then"),
            else_branch=branch("Sub", "else"),
        ),
        weights=[
            ("w", generator.normal(size=(16, 8)).astype(np.float32)),
            ("b", np.ones(8, np.float32)),
            ("zero", np.float32(0)),
        ],
    )


def run(path):
    rows = np.random.default_rng(1).normal(size=(20, 16)).astype(np.float32)
    return ort.InferenceSession(str(path)).run(None, {"x": rows})[0]


@pytest.mark.process
@pytest.mark.parametrize(("name", "tolerance"), [("fused", 1e-5), ("int8_dynamic", 0.3)])
def test_a_built_candidate_runs_and_is_near_the_converted_model(name, tolerance, dense, tmp_path):
    built = candidates.build(name, dense, SPEC, tmp_path / name)
    assert built.name == name and built.description and built.graph == SPEC
    np.testing.assert_allclose(run(built.path), run(dense), atol=tolerance)
    assert not np.array_equal(built.path.read_bytes(), dense.read_bytes())


@pytest.mark.process
def test_the_converted_model_is_a_candidate_like_the_others(dense, tmp_path):
    built = candidates.build("converted", dense, SPEC, tmp_path / "converted")
    assert built.path.read_bytes() == dense.read_bytes() and built.path != dense


@pytest.mark.process
@pytest.mark.parametrize("name", ["converted", "fused", "int8_dynamic"])
def test_a_candidate_of_a_model_with_external_weights_stands_alone(name, dense, tmp_path):
    origin = tmp_path / "origin"
    origin.mkdir()
    onnx.save_model(
        onnx.load(str(dense)),
        str(origin / "model.onnx"),
        save_as_external_data=True,
        location="weights.bin",
        size_threshold=0,
    )
    built = candidates.build(name, origin / "model.onnx", SPEC, tmp_path / "built")
    shutil.rmtree(origin)
    moved = built.path.parent.rename(tmp_path / "moved") / built.path.name
    onnx.checker.check_model(str(moved))
    np.testing.assert_allclose(run(moved), run(dense), atol=0.3 if "int8" in name else 1e-5)


@pytest.mark.process
@pytest.mark.parametrize("name", ["fused", "int8_dynamic"])
def test_mlflow_s_own_flavor_loads_a_candidate(name, dense, tmp_path):
    import mlflow.onnx

    from mlflow_onnx_flavor import flavor

    built = candidates.build(name, dense, SPEC, tmp_path / name)
    flavor.save_model(
        built.path, tmp_path / "model", graph=built.graph, session_options=built.session_options
    )
    loaded = mlflow.onnx.load_model(str(tmp_path / "model"))
    assert [each.name for each in loaded.graph.output] == ["y"]


@pytest.mark.process
@pytest.mark.parametrize("name", ["fused", "int8_dynamic"])
def test_what_can_be_done_within_a_branch_is_done(name, tmp_path):
    path = branching(tmp_path / "if.onnx")
    built = candidates.build(name, path, SPEC, tmp_path / name)
    np.testing.assert_allclose(run(built.path), run(path), atol=0.3 if "int8" in name else 1e-5)


@pytest.mark.process
def test_a_graph_with_nothing_to_do_is_refused_with_the_reason(tmp_path):
    plain = graph(tmp_path / "m.onnx", helper.make_node("Relu", ["x"], ["y"]))
    with pytest.raises(CandidateError, match="nothing to quantize: the graph is Relu"):
        candidates.build("int8_dynamic", plain, SPEC, tmp_path / "a")
    with pytest.raises(CandidateError, match="the same graph as converted"):
        candidates.build("fused", plain, SPEC, tmp_path / "b")


@pytest.mark.process
def test_a_product_without_constant_weights_is_not_called_quantized(tmp_path):
    square = graph(
        tmp_path / "m.onnx",
        helper.make_node("Transpose", ["x"], ["t"]),
        helper.make_node("MatMul", ["x", "t"], ["y"]),
    )
    with pytest.raises(CandidateError, match="no operator has constant float32 weights"):
        candidates.build("int8_dynamic", square, SPEC, tmp_path / "a")


@pytest.mark.process
def test_a_model_that_came_quantized_is_not_called_quantized_again(dense, tmp_path):
    once = candidates.build("int8_dynamic", dense, SPEC, tmp_path / "once")
    with pytest.raises(CandidateError, match="nothing to quantize"):
        candidates.build("int8_dynamic", once.path, SPEC, tmp_path / "twice")


@pytest.mark.process
def test_a_build_that_takes_too_long_is_one_line(dense, tmp_path):
    with pytest.raises(CandidateError, match="fused process was stopped: it ran past its limit"):
        candidates.build("fused", dense, SPEC, tmp_path / "a", timeout_s=0.001)


@pytest.mark.process
def test_a_build_that_dies_is_one_line(dense, tmp_path, monkeypatch):
    receive = Worker._receive

    def killed(self, task, timeout_s):
        os.kill(self.pid, signal.SIGKILL)
        return receive(self, task, timeout_s)

    monkeypatch.setattr(Worker, "_receive", killed)
    with pytest.raises(CandidateError, match="fused process died with signal SIGKILL"):
        candidates.build("fused", dense, SPEC, tmp_path / "a")


@pytest.mark.process
def test_a_file_that_cannot_be_read_is_one_line(tmp_path):
    (tmp_path / "m.onnx").write_bytes(b"no model")
    with pytest.raises(CandidateError) as caught:
        candidates.build("fused", tmp_path / "m.onnx", SPEC, tmp_path / "a")
    assert "\n" not in str(caught.value)


def test_candidates_are_found_by_their_files():
    assert candidates.names() == ("converted", "fused", "int8_dynamic", "tuned")
    for name in candidates.names():
        assert importlib.import_module(f"mlflow_onnx_flavor.candidates.{name}").name == name


def test_an_unknown_name_comes_with_the_nearest():
    with pytest.raises(
        ConfigurationError, match="unknown candidate 'fussed'; did you mean 'fused'"
    ):
        candidates.check_names(["converted", "fussed"])
