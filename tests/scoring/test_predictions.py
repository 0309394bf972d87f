"""Predictions: the graph's outputs in the form that the source's pyfunc had."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from mlflow_onnx_flavor.scoring.predictions import every_output, prediction_maker

DATA = pd.DataFrame({"a": [1, 2]}, index=[10, 20])
SCORES = np.array([[1, 2], [3, 4]], np.float32)


def part(output="y", dtype="float32", shape=(), **more):
    return {"output": output, "dtype": dtype, "shape": list(shape), **more}


def make(outputs, data=DATA, **spec):
    names, maker = prediction_maker(spec)
    assert names == list(outputs)
    return maker(list(outputs.values()), data)


def test_a_column_of_scores_comes_back_as_the_source_had_it():
    answer = make(
        {"y": np.ones((3, 1), np.float32)}, container="ndarray", parts=[part(dtype="float64")]
    )
    assert answer.shape == (3,) and answer.dtype == np.float64


@pytest.mark.parametrize(
    ("given", "shape", "expected"),
    [((3, 2), (2,), (3, 2)), ((3,), (1,), (3, 1)), ((3, 4), (2, 2), (3, 2, 2)), ((0, 1), (), (0,))],
)
def test_a_row_goes_out_for_each_row_in(given, shape, expected):
    answer = make(
        {"y": np.zeros(given, np.float32)}, container="ndarray", parts=[part(shape=shape)]
    )
    assert answer.shape == expected


def test_an_open_shape_stays_as_the_graph_gives_it():
    answer = make({"y": SCORES}, container="ndarray", parts=[part(shape=(-1,))])
    assert answer is SCORES


def test_text_labels_take_the_dtype_of_the_source():
    labels = np.array(["low", "high"], object)
    answer = make({"y": labels}, container="ndarray", parts=[part(dtype="<U6")])
    assert answer.dtype == np.dtype("<U6") and answer.tolist() == ["low", "high"]


def test_a_label_longer_than_any_seen_is_not_cut_off():
    labels = np.array(["low", "higher"], object)
    answer = make({"y": labels}, container="ndarray", parts=[part(dtype="<U3")])
    assert answer.tolist() == ["low", "higher"]


def test_frames_keep_columns_and_the_index_of_the_input():
    spec = {"container": "dataframe", "parts": [part(shape=(2,))], "columns": ["p", "q"]}
    answer = make({"y": SCORES}, **spec, keeps_index=True)
    pd.testing.assert_frame_equal(answer, pd.DataFrame(SCORES, columns=["p", "q"], index=[10, 20]))
    assert list(make({"y": SCORES}, **spec).index) == [0, 1]
    assert list(make({"y": SCORES}, {"a": [1, 2]}, **spec, keeps_index=True).index) == [0, 1]


def test_frames_of_several_outputs_keep_each_dtype():
    answer = make(
        {"label": np.array(["u", "v"], object), "y": SCORES[:, :1]},
        container="dataframe",
        parts=[part("label", "object"), part(dtype="float64")],
        columns=["class", "score"],
    )
    assert list(answer.columns) == ["class", "score"]
    assert answer["class"].tolist() == ["u", "v"] and answer["score"].dtype == np.float64


def test_series_keep_their_name_and_index():
    spec = {"container": "series", "parts": [part()], "keeps_index": True}
    answer = make({"y": SCORES[:, :1]}, **spec, columns=["price"])
    pd.testing.assert_series_equal(
        answer, pd.Series([1, 3], index=[10, 20], name="price", dtype="float32")
    )
    assert make({"y": SCORES[:, :1]}, **spec).name is None


def test_dictionaries_and_lists_come_back_by_key():
    answer = make(
        {"u": SCORES[:, :1], "v": SCORES},
        container="dict",
        parts=[part("u", key="first"), part("v", key="second", shape=(2,), as_list=True)],
    )
    assert answer["first"].shape == (2,) and answer["second"] == [[1.0, 2.0], [3.0, 4.0]]
    listed = make({"y": SCORES}, container="list", parts=[part(shape=(2,), as_list=True)])
    assert listed == [[1.0, 2.0], [3.0, 4.0]]


def test_a_graph_that_nothing_is_known_of_answers_with_every_output():
    answer = make({"u": SCORES, "v": SCORES}, **every_output(["u", "v"]))
    assert list(answer) == ["u", "v"] and answer["u"] is SCORES


def test_an_answer_for_the_first_row_alone_is_cut_to_its_length():
    outputs = {"y": np.ones((2, 5, 3), np.float32), "n": np.array([4, 5])}
    parts = [part(dtype="float64", shape=(3,))]
    answer = make(outputs, container="ndarray", parts=parts, lengths="n")
    assert answer.shape == (4, 3) and answer.dtype == np.float64
