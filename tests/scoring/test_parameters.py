"""Parameters at prediction time, and the environment's say."""

from __future__ import annotations

import json

import mlflow
import numpy as np
import pytest
from mlflow.exceptions import MlflowException
from onnx import helper

from mlflow_onnx_flavor import flavor, scoring
from mlflow_onnx_flavor.artifact.digests import digest_of
from mlflow_onnx_flavor.scoring import ExecutionProviderUnavailable
from tests.onnx_graphs import doubling, save, tensor

CPU = "CPUExecutionProvider"


def looping(path):
    """Y = x after x[0, 0] rounds of adding nothing: as long as it is asked to take."""
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


def graph_of(path, nodes, inputs, outputs, weights=()):
    save(nodes, inputs, outputs, path, weights)
    return scoring.load_session(str(path))


def mean(path, shape, keepdims=1):
    """The mean of the rows, declared as ``shape``."""
    return graph_of(
        path,
        [helper.make_node("ReduceMean", ["x", "axes"], ["m"], keepdims=keepdims)],
        [tensor("x", ["rows", 2])],
        [tensor("m", shape)],
        [helper.make_tensor("axes", 7, [1], [0])],
    )


@pytest.mark.parametrize(("shape", "keepdims"), [([2], 0), ([1, 2], 1), (["one", 2], 1)])
def test_an_answer_that_is_not_of_rows_is_not_put_together(tmp_path, shape, keepdims):
    session, rows = mean(tmp_path / "m.onnx", shape, keepdims), np.ones((6, 2), np.float32)
    assert session.predict(rows, {"batch_size": 6})["m"].ravel().tolist() == [1, 1]
    with pytest.raises(ValueError, match="'m' has not a row of its own for each row"):
        session.predict(rows, {"batch_size": 4})


def test_an_answer_that_looks_at_all_rows_at_once_is_not_put_together(tmp_path):
    session = graph_of(
        tmp_path / "m.onnx",
        [
            helper.make_node("Transpose", ["k"], ["t"]),
            helper.make_node("MatMul", ["q", "t"], ["y"]),
        ],
        [tensor("q", ["n", 2]), tensor("k", ["m", 2])],
        [tensor("y", ["n", "m"])],
    )
    rows = np.ones((4, 2), np.float32)
    assert session.predict({"q": rows, "k": rows})["y"].shape == (4, 4)
    with pytest.raises(ValueError, match="'y' has not a row of its own"):
        session.predict({"q": rows, "k": rows}, {"batch_size": 2})
    with pytest.raises(ValueError, match="'q' has 2 where others have 4"):
        session.predict({"q": rows[:2], "k": rows}, {"batch_size": 2})


def test_what_is_not_of_rows_goes_into_every_piece_whole(tmp_path):
    session = graph_of(
        tmp_path / "m.onnx",
        [helper.make_node("MatMul", ["x", "table"], ["y"])],
        [tensor("x", ["rows", 2]), tensor("table", [2, 3])],
        [tensor("y", ["rows", 3])],
    )
    table = np.arange(6, dtype=np.float32).reshape(2, 3)
    for number in (1, 2, 3):
        rows = np.arange(2 * number, dtype=np.float32).reshape(number, 2)
        answer = session.predict({"x": rows, "table": table}, {"batch_size": 1})
        np.testing.assert_array_equal(answer["y"], rows @ table)


def test_a_graph_for_one_row_takes_many_in_pieces(tmp_path):
    shape = [1, 2]
    session = graph_of(
        tmp_path / "m.onnx",
        [helper.make_node("Add", ["x", "x"], ["y"])],
        [tensor("x", shape)],
        [tensor("y", shape)],
    )
    rows = np.arange(6, dtype=np.float32).reshape(3, 2)
    np.testing.assert_array_equal(session.predict(rows, {"batch_size": 1})["y"], 2 * rows)


def test_a_sequence_of_tensors_is_neither_put_together_nor_a_frame(tmp_path):
    session = graph_of(
        tmp_path / "m.onnx",
        [helper.make_node("SequenceConstruct", ["a", "b"], ["s"])],
        [tensor("a", ["rows"]), tensor("b", ["rows"])],
        [helper.make_tensor_sequence_value_info("s", 1, None)],
    )
    rows = {"a": np.array([1, 2], np.float32), "b": np.array([3, 4], np.float32)}
    assert [each.tolist() for each in session.predict(rows)["s"]] == [[1, 2], [3, 4]]
    with pytest.raises(ValueError, match="'s' has not a row of its own"):
        session.predict(rows, {"batch_size": 1})
    with pytest.raises(ValueError, match="'s' is a sequence of tensors, which is no column"):
        session.predict(rows, {"as_frame": True})


def test_a_run_that_takes_too_long_is_stopped(tmp_path):
    session = scoring.load_session(str(looping(tmp_path / "m.onnx")))
    assert session.predict(np.array([[10.0]], np.float32), {"timeout_seconds": 30})["y"] == 10
    with pytest.raises(TimeoutError, match=r"did not answer within 0\.3 s"):
        session.predict(np.array([[2e9]], np.float32), {"timeout_seconds": 0.3})
    with pytest.raises(MlflowException) as stopped:  # else the server would answer 400
        session.predict(np.array([[2e9]], np.float32), {"timeout_seconds": 0.1})
    assert stopped.value.get_http_status_code() == 504
    assert session.predict(np.array([[10.0]], np.float32))["y"] == 10


def test_another_execution_provider_is_opened_once(session):
    rows = np.ones((2, 2), np.float32)
    for _ in range(2):
        np.testing.assert_array_equal(
            session.predict(rows, {"execution_provider": CPU})["y"], 2 * rows
        )
    with pytest.raises(ExecutionProviderUnavailable, match="'CUDAExecutionProvider'") as refused:
        session.predict(rows, {"execution_provider": "CUDAExecutionProvider"})
    assert refused.value.get_http_status_code() == 400


def test_a_provider_by_its_name_keeps_the_options_it_was_logged_with(tmp_path, monkeypatch):
    logged = {"name": CPU, "session_options": {"intra_op_num_threads": 3}}
    flavor.save_model(
        doubling(tmp_path / "m.onnx"), tmp_path / "model", execution_providers=[logged]
    )
    path = str(tmp_path / "model")

    def threads(opened):
        return opened.get_session_options().intra_op_num_threads

    session = scoring.load_session(path)
    session.predict(np.ones((1, 2), np.float32), {"execution_provider": CPU})
    assert threads(session._opened.on(CPU)) == threads(session.session) == 3
    assert threads(flavor.load_session(path, execution_providers=CPU).session) == 0
    other = {"name": CPU, "options": {}, "session_options": {"intra_op_num_threads": 2}}
    assert threads(scoring.load_session(path, {"execution_providers": [other]}).session) == 2
    monkeypatch.setenv("MLFLOW_ONNX_EXECUTION_PROVIDERS", CPU)
    assert threads(scoring.load_session(path).session) == 3


@pytest.mark.parametrize(
    ("params", "sentence"),
    [
        ({"batch_size": -1}, "batch_size.*must be a number of rows, not -1"),
        ({"batch_size": 1.5}, "batch_size.*must be a number of rows"),
        ({"batch_size": "10"}, "batch_size.*must be a number of rows, not '10'"),
        ({"batch_size": float("nan")}, "batch_size.*must be a number of rows, not nan"),
        ({"timeout_seconds": -1}, "timeout_seconds.*must not be negative"),
        ({"timeout_seconds": "1"}, "timeout_seconds.*must be seconds, not '1'"),
        ({"timeout_seconds": float("nan")}, "timeout_seconds.*must be seconds, not nan"),
        ({"timeout_seconds": 1e12}, "timeout_seconds.*must be seconds, not 1000000"),
        ({"outputs": 5}, "outputs.*must be names of outputs, not 5"),
        ({"outputs": {"y": 1}}, "outputs.*must be names of outputs"),
        ({"as_frame": "false"}, "as_frame.*must be true or false, not 'false'"),
        ({"execution_provider": 5}, "execution_provider.*must be a name, not 5"),
        ([1], "params must be a dictionary"),
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
