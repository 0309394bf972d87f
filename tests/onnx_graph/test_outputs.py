"""Outputs that are no arrays: each is compared as arrays with a row for each row, or refused."""

from __future__ import annotations

import numpy as np
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper, numpy_helper

import mlflow_onnx_flavor
from mlflow_onnx_flavor.errors import UnsupportedModelError
from mlflow_onnx_flavor.onnx_graph.outputs import as_arrays
from tests.builders import WITHOUT_PROBES
from tests.onnx_graphs import save, tensor

ROWS = np.random.default_rng(0).normal(size=(40, 3)).astype(np.float32)


def sequence(name):
    return helper.make_tensor_sequence_value_info(name, TensorProto.FLOAT, None)


def two_states(path, factor=2.0):
    """States = [x * factor, the sum of each row]."""
    return save(
        [
            helper.make_node("Mul", ["x", "factor"], ["scaled"]),
            helper.make_node("ReduceSum", ["x", "axis"], ["sums"], keepdims=0),
            helper.make_node("SequenceConstruct", ["scaled", "sums"], ["made"]),
            helper.make_node("Identity", ["made"], ["states"]),
        ],
        [tensor("x", ["rows", 3])],
        [sequence("states")],
        path,
        [
            numpy_helper.from_array(np.float32([factor]), "factor"),
            numpy_helper.from_array(np.array([1]), "axis"),
        ],
    )


def row_by_row(path):
    """A sequence as long as there are rows."""
    return save(
        [helper.make_node("SplitToSequence", ["x"], ["states"], axis=0)],
        [tensor("x", ["rows", 3])],
        [sequence("states")],
        path,
    )


def answered(path):
    session = ort.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    names = [each.name for each in session.get_outputs()]
    return as_arrays(dict(zip(names, session.run(None, {"x": ROWS}), strict=True)), path)


def test_each_tensor_of_a_sequence_is_an_output(tmp_path):
    found = answered(two_states(tmp_path / "m.onnx"))
    assert list(found) == ["states[0]", "states[1]"]
    np.testing.assert_array_equal(found["states[0]"], ROWS * 2)
    assert found["states[1]"].shape == (40,)


def test_a_sequence_that_the_data_makes_as_long_as_it_is_is_refused_by_its_name(tmp_path):
    with pytest.raises(UnsupportedModelError, match="output 'states' is a list of 40 values"):
        answered(row_by_row(tmp_path / "m.onnx"))


def test_maps_of_probabilities_are_a_matrix(tmp_path):
    zipped = [{1: 0.75, 0: 0.25}, {1: 0.5, 0: 0.5}]
    found = as_arrays({"probabilities": zipped}, tmp_path / "unread.onnx")
    assert found["probabilities"].tolist() == [[0.25, 0.75], [0.5, 0.5]]


@pytest.mark.process
def test_a_source_that_gives_a_sequence_is_compared_tensor_by_tensor(tmp_path):
    source, wrong = two_states(tmp_path / "a.onnx"), two_states(tmp_path / "b.onnx", 2.1)
    report = mlflow_onnx_flavor.check_parity(
        source, wrong, ROWS, ["CPUExecutionProvider"], configuration=WITHOUT_PROBES
    )
    assert {row.status for row in report.rows} == {"measured"}
    for row in report.rows:
        off = {each.name: each.disagreements(each.auto_tolerance) > 0 for each in row.outputs}
        assert off == {"states[0]": True, "states[1]": False}
