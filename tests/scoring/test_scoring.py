"""Scoring: every form of input in, the source's form of answer out."""

from __future__ import annotations

import shutil
import sys
import threading

import numpy as np
import onnx
import pandas as pd
import pytest
from onnx import TensorProto, helper

from mlflow_onnx_flavor import flavor, scoring
from mlflow_onnx_flavor.graph_spec import FeedSpec, GraphSpec, PredictionPart, PredictionSpec
from mlflow_onnx_flavor.scoring.feeds import Feeder
from mlflow_onnx_flavor.scoring.predictions import prediction_maker

MATRIX = {"name": "x", "layout": "matrix", "dtype": "float32", "columns": ["a", "b"]}


def doubling(path, columns=2):
    """A graph y = x + x of shape (rows, columns)."""
    shape = ["rows", columns]
    graph = helper.make_graph(
        [helper.make_node("Add", ["x", "x"], ["y"])],
        "doubling",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, shape)],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    onnx.save_model(model, str(path))
    return path


@pytest.mark.parametrize(
    "data",
    [
        pd.DataFrame({"a": [1.0, 2.0], "b": [3.0, 4.0]}),
        pd.DataFrame({"b": [3, 4], "extra": ["x", "y"], "a": [1, 2]}),
        pd.DataFrame({"a": pd.array([1, 2], "Int64"), "b": pd.array([3.0, 4.0], "Float64")}),
        pd.DataFrame({"a": [1.0, 2.0], "b": [3.0, 4.0]}).convert_dtypes(dtype_backend="pyarrow"),
        np.array([[1, 3], [2, 4]]),
        {"a": np.array([1.0, 2.0]), "b": np.array([3.0, 4.0])},
        {"a": [1, 2], "b": [3, 4]},
    ],
    ids=["frame", "shuffled", "nullable", "arrow", "array", "arrays", "lists"],
)
def test_every_form_of_input_feeds_the_same_matrix(data):
    feeds = Feeder([MATRIX]).feeds(data)
    assert feeds["x"].dtype == np.float32
    np.testing.assert_array_equal(feeds["x"], [[1, 3], [2, 4]])


def test_missing_numbers_are_nan_in_the_graph():
    feeds = Feeder([MATRIX]).feeds(pd.DataFrame({"a": pd.array([1, None], "Int64"), "b": [1, 2]}))
    np.testing.assert_array_equal(feeds["x"], [[1, 1], [np.nan, 2]])


def test_text_columns_feed_objects_and_missing_text_the_empty_string():
    feeder = Feeder([{"name": "t", "layout": "column", "dtype": "object", "columns": ["t"]}])
    for column in (["a", None], pd.Categorical(["a", None]), pd.array(["a", pd.NA], "string")):
        assert feeder.feeds(pd.DataFrame({"t": column}))["t"].tolist() == [["a"], [""]]


@pytest.mark.parametrize(
    ("column", "sentence"),
    [
        (["x", "y"], "'n'"),
        ([1.5, 2.0], "'n' has values that do not fit int64"),
        ([1.0, np.nan], "'n' has missing values, which int64 cannot hold"),
    ],
)
def test_a_cast_that_would_lose_something_names_the_column(column, sentence):
    feeder = Feeder([{"name": "n", "layout": "column", "dtype": "int64", "columns": ["n"]}])
    with pytest.raises(ValueError, match=sentence):
        feeder.feeds(pd.DataFrame({"n": column}))


def test_a_missing_column_is_named():
    with pytest.raises(ValueError, match=r"the columns \['b'\] are missing"):
        Feeder([MATRIX]).feeds(pd.DataFrame({"a": [1.0]}))


def test_named_tensors_are_found_by_their_key():
    feeder = Feeder([{"name": "g", "layout": "tensor", "dtype": "int64", "key": "ids"}])
    assert feeder.feeds({"ids": np.array([[1, 2]], np.int32)})["g"].dtype == np.int64
    with pytest.raises(ValueError, match="input 'ids' is missing"):
        feeder.feeds({"other": np.array([1])})


def part(output="y", dtype="float32", shape=(), **more):
    return {"output": output, "dtype": dtype, "shape": list(shape), **more}


def test_a_column_of_scores_comes_back_as_the_source_had_it():
    names, make = prediction_maker(
        {"container": "ndarray", "parts": [part(dtype="float64", shape=())]}
    )
    answer = make({"y": np.ones((3, 1), np.float32)}, None)
    assert names == ["y"] and answer.shape == (3,) and answer.dtype == np.float64


def test_text_labels_take_the_dtype_of_the_source():
    _, make = prediction_maker({"container": "ndarray", "parts": [part(dtype="<U4")]})
    assert make({"y": np.array(["low", "high"], object)}, None).dtype == np.dtype("<U4")


def test_frames_keep_columns_and_the_index_of_the_input():
    _, make = prediction_maker(
        {
            "container": "dataframe",
            "parts": [part(shape=(2,))],
            "columns": ["p", "q"],
            "keeps_index": True,
        }
    )
    data = pd.DataFrame({"a": [1, 2]}, index=[10, 20])
    answer = make({"y": np.array([[1, 2], [3, 4]], np.float32)}, data)
    assert list(answer.columns) == ["p", "q"] and list(answer.index) == [10, 20]


def test_dictionaries_and_lists_come_back_by_key():
    _, make = prediction_maker(
        {
            "container": "dict",
            "parts": [part("u", key="first"), part("v", key="second", shape=(2,), as_list=True)],
        }
    )
    answer = make({"u": np.ones((2, 1), np.float32), "v": np.ones((2, 2), np.float32)}, None)
    assert answer["first"].shape == (2,) and answer["second"] == [[1.0, 1.0], [1.0, 1.0]]


def test_a_bare_file_answers_with_all_outputs(tmp_path):
    session = scoring.load_session(str(doubling(tmp_path / "m.onnx")))
    answer = session.predict(np.ones((3, 2), np.float32))
    np.testing.assert_array_equal(answer["y"], np.full((3, 2), 2))


def test_asking_for_outputs_gives_them_by_name(candidate_folder, frame):
    session = scoring.load_session(str(candidate_folder))
    answer = session.predict(frame, params={"outputs": ["probabilities"]})
    assert list(answer) == ["probabilities"] and answer["probabilities"].shape == (len(frame), 3)
    with pytest.raises(ValueError, match="no output 'nothing'"):
        session.predict(frame, params={"outputs": ["nothing"]})


def test_a_provider_that_is_not_here_is_refused_with_what_is(candidate_folder):
    config = {"execution_providers": ["CUDAExecutionProvider"]}
    with pytest.raises(scoring.ExecutionProviderUnavailable, match="available: CPUExecution"):
        scoring.load_session(str(candidate_folder), config)


def test_fallback_is_possible_where_it_is_asked_for(candidate_folder, frame):
    config = {"execution_providers": ["CUDAExecutionProvider"], "fallback": "allow"}
    assert len(scoring.load_session(str(candidate_folder), config).predict(frame)) == len(frame)


def test_an_unknown_session_option_is_refused(candidate_folder):
    with pytest.raises(ValueError, match="has no 'threads'"):
        scoring.load_session(str(candidate_folder), {"session_options": {"threads": 1}})


def test_placement_says_where_the_nodes_ran(candidate_folder):
    session = scoring.load_session(str(candidate_folder), {"record_placement": True})
    assert set(session.placement()) == {"CPUExecutionProvider"}


def test_one_session_serves_many_threads(candidate_folder, frame):
    session = scoring.load_session(str(candidate_folder))
    expected = session.predict(frame)
    wrong: list[int] = []

    def work(seed: int) -> None:
        order = np.random.default_rng(seed).permutation(len(frame))
        for _ in range(20):
            if not (session.predict(frame.iloc[order]) == expected[order]).all():
                wrong.append(seed)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    assert wrong == []


def test_two_models_with_different_code_live_in_one_process(tmp_path, frame, monkeypatch):
    import mlflow

    source = tmp_path / "scoring"
    shutil.copytree(flavor._scoring_folder(), source)
    spec = GraphSpec(
        feeds=(FeedSpec(**MATRIX),),
        prediction=PredictionSpec(
            container="ndarray", parts=(PredictionPart(output="y", dtype="float32", shape=(2,)),)
        ),
        outputs=("y",),
    )
    graph = doubling(tmp_path / "m.onnx")
    flavor.save_model(graph, tmp_path / "old", graph=spec)
    changed = (source / "predictions.py").read_text() + "\n# another version\n"
    (source / "predictions.py").write_text(changed)
    monkeypatch.setattr(flavor, "_scoring_folder", lambda: source)
    flavor._scoring_module_name.cache_clear()
    flavor.save_model(graph, tmp_path / "new", graph=spec)
    flavor._scoring_module_name.cache_clear()

    models = [mlflow.pyfunc.load_model(str(tmp_path / each)) for each in ("old", "new")]
    code = [type(each._model_impl).__module__ for each in models]
    assert code[0] != code[1] and all(name.split(".")[0] in sys.modules for name in code)
    data = pd.DataFrame({"a": [1.0], "b": [2.0]})
    np.testing.assert_array_equal(models[0].predict(data), models[1].predict(data))
