"""Parameters at prediction time, and the environment's say."""

from __future__ import annotations

import json

import mlflow
import numpy as np
import pytest
from onnx import helper

from mlflow_onnx_flavor import flavor, scoring
from mlflow_onnx_flavor.attestation import digest_of
from mlflow_onnx_flavor.scoring import ExecutionProviderUnavailable
from tests.onnx_graphs import doubling, save, tensor

CPU = "CPUExecutionProvider"


def looping(path):
    """y = x after x[0, 0] rounds of adding nothing: as long as it is asked to take."""
    body = helper.make_graph(
        [
            helper.make_node("Identity", ["go"], ["go_on"]),
            helper.make_node("Mul", ["carried", "one"], ["next"]),
        ],
        "body",
        [tensor("round", [], 7), tensor("go", [], 9), tensor("carried", ["rows", 1])],
        [tensor("go_on", [], 9), tensor("next", ["rows", 1])],
        [helper.make_tensor("one", 1, [1], [1.0])],
    )
    return save(
        [
            helper.make_node("ReduceMax", ["x"], ["most"], keepdims=0),
            helper.make_node("Cast", ["most"], ["rounds"], to=7),
            helper.make_node("Loop", ["rounds", "", "x"], ["y"], body=body),
        ],
        [tensor("x", ["rows", 1])],
        [tensor("y", ["rows", 1])],
        path,
    )


@pytest.fixture
def session(tmp_path):
    return scoring.load_session(str(doubling(tmp_path / "m.onnx")))


@pytest.mark.parametrize("size", [1, 3, 7, 100])
def test_many_rows_are_run_in_pieces_and_put_together(session, size):
    rows = np.arange(14, dtype=np.float32).reshape(7, 2)
    answer = session.predict(rows, {"batch_size": size})
    np.testing.assert_array_equal(answer["y"], 2 * rows)


def test_pieces_keep_the_form_of_the_prediction(candidate_folder, frame):
    model = mlflow.pyfunc.load_model(str(candidate_folder))
    whole = model.predict(frame)
    pieces = model.predict(frame, params={"batch_size": 10})
    assert pieces.dtype == whole.dtype and list(pieces) == list(whole)
    several = model.predict(frame, params={"batch_size": 10, "outputs": ["probabilities"]})
    assert several["probabilities"].shape == (len(frame), 3)


def test_a_run_that_takes_too_long_is_stopped(tmp_path):
    session = scoring.load_session(str(looping(tmp_path / "m.onnx")))
    assert session.predict(np.array([[10.0]], np.float32), {"timeout_seconds": 30})["y"] == 10
    with pytest.raises(TimeoutError, match=r"did not answer within 0\.3 s"):
        session.predict(np.array([[2e9]], np.float32), {"timeout_seconds": 0.3})
    assert session.predict(np.array([[10.0]], np.float32))["y"] == 10


def test_another_execution_provider_is_opened_once(session):
    rows = np.ones((2, 2), np.float32)
    for _ in range(2):
        np.testing.assert_array_equal(
            session.predict(rows, {"execution_provider": CPU})["y"], 2 * rows
        )
    with pytest.raises(ExecutionProviderUnavailable, match="'CUDAExecutionProvider'"):
        session.predict(rows, {"execution_provider": "CUDAExecutionProvider"})


@pytest.mark.parametrize(
    ("params", "sentence"),
    [
        ({"batch_size": -1}, "batch_size.*must be a number of rows, not -1"),
        ({"batch_size": 1.5}, "batch_size.*must be a number of rows"),
        ({"timeout_seconds": -1}, "timeout_seconds.*must not be negative"),
    ],
)
def test_parameters_that_make_no_sense_are_named(session, params, sentence):
    with pytest.raises(ValueError, match=sentence):
        session.predict(np.ones((1, 2), np.float32), params)


def test_the_environment_stands_over_the_model_and_under_what_is_given(tmp_path, monkeypatch):
    flavor.save_model(
        doubling(tmp_path / "m.onnx"),
        tmp_path / "model",
        session_options={"intra_op_num_threads": 2},
    )
    path = str(tmp_path / "model")

    def threads(config=None):
        opened = scoring.load_session(path, config)
        return opened.session.get_session_options().intra_op_num_threads

    assert threads() == 2
    monkeypatch.setenv("MLFLOW_ONNX_SESSION_OPTIONS", json.dumps({"intra_op_num_threads": 3}))
    assert threads() == 3
    assert threads({"session_options": {"intra_op_num_threads": 1}}) == 1
    monkeypatch.setenv("MLFLOW_ONNX_EXECUTION_PROVIDERS", "CUDAExecutionProvider")
    with pytest.raises(ExecutionProviderUnavailable):
        threads()
    monkeypatch.setenv("MLFLOW_ONNX_FALLBACK", "allow")
    assert threads() == 3
    monkeypatch.setenv("MLFLOW_ONNX_SESSION_OPTIONS", "{threads")
    with pytest.raises(ValueError, match="MLFLOW_ONNX_SESSION_OPTIONS is no JSON"):
        threads()


def test_a_model_is_loaded_if_its_digest_is_the_one_asked_for(candidate_folder, frame):
    digest = digest_of(candidate_folder)
    model = mlflow.pyfunc.load_model(str(candidate_folder), model_config={"digest": digest})
    assert len(model.predict(frame)) == len(frame)
    with pytest.raises(ValueError, match="is not the one that was asked for"):
        mlflow.pyfunc.load_model(str(candidate_folder), model_config={"digest": "sha256:0"})


def test_the_session_itself_is_the_raw_model(candidate_folder):
    raw = mlflow.pyfunc.load_model(str(candidate_folder)).get_raw_model()
    assert [each.name for each in raw.get_outputs()] == ["label", "probabilities"]
