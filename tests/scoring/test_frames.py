"""Answers as a DataFrame with named columns, where they are asked for."""

from __future__ import annotations

import mlflow
import numpy as np
import pandas as pd
import pytest
from scipy import sparse

from mlflow_onnx_flavor import scoring
from mlflow_onnx_flavor.scoring.frames import frame_of
from tests.onnx_graphs import doubling

ROWS = np.arange(6.0).reshape(3, 2)


def test_a_classifier_answers_with_its_label_and_a_column_for_each_class(candidate_folder, frame):
    model = mlflow.pyfunc.load_model(str(candidate_folder))
    moved = frame.set_axis(frame.index + 100)
    answer = model.predict(moved, params={"as_frame": True})
    assert list(answer) == ["label", "probability_high", "probability_low", "probability_mid"]
    assert list(answer.index) == list(moved.index)
    assert list(answer["label"]) == list(model.predict(frame))
    other = model.predict(frame, params={"outputs": ["probabilities"]})["probabilities"]
    np.testing.assert_array_equal(answer.iloc[:, 1:].to_numpy(), other)
    asked = {"as_frame": True, "outputs": ["probabilities"], "batch_size": 10}
    assert list(model.predict(frame, params=asked)) == list(answer)[1:]


def test_columns_of_other_outputs(tmp_path):
    session = scoring.load_session(str(doubling(tmp_path / "m.onnx")))
    answer = session.predict(ROWS.astype(np.float32), {"as_frame": True})
    assert list(answer) == ["y_0", "y_1"] and list(answer["y_1"]) == [2, 6, 10]
    one = frame_of({"score": ROWS[:, :1], "image": ROWS.reshape(3, 1, 2)}, ROWS)
    assert list(one) == ["score", "image"] and one["image"][2].shape == (1, 2)
    maps = frame_of({"probabilities": [{"a": 0.1, "b": 0.9}] * 3}, {"x": ROWS})
    assert list(maps) == ["probability_a", "probability_b"]
    unknown = frame_of({"probabilities": ROWS}, ROWS, ["only one"])
    assert list(unknown) == ["probability_0", "probability_1"]
    assert len(frame_of({"y": np.zeros(0)}, pd.DataFrame({"a": []}))) == 0


@pytest.mark.parametrize(
    "data",
    [
        ROWS.tolist(),
        tuple(map(tuple, ROWS)),
        sparse.csr_matrix(ROWS),
        [{"a": a, "b": b} for a, b in ROWS],
        {"x": sparse.csr_matrix(ROWS)},
        pd.DataFrame(ROWS),
        pd.DataFrame(ROWS[:0]).set_axis(pd.Index([], dtype="str")),
    ],
    ids=["lists", "tuples", "sparse", "records", "sparse in a dictionary", "frame", "no rows"],
)
def test_every_form_of_rows_may_be_answered_with_a_frame(tmp_path, data):
    session = scoring.load_session(str(doubling(tmp_path / "m.onnx")))
    answer = session.predict(data, {"as_frame": True})
    index = data.index if isinstance(data, pd.DataFrame) else pd.RangeIndex(3)
    expected = pd.DataFrame(2 * ROWS[: len(index)], index, ["y_0", "y_1"]).astype("float32")
    pd.testing.assert_frame_equal(answer, expected)


def test_two_columns_of_one_name_are_refused():
    with pytest.raises(ValueError, match="two outputs make a column 'y_1'"):
        frame_of({"y": ROWS, "y_1": ROWS[:, 0]}, ROWS)


def test_what_has_no_row_for_each_row_is_no_column():
    with pytest.raises(ValueError, match="'total' has 1 values for 3 rows.*without as_frame"):
        frame_of({"total": np.array(1.0)}, ROWS)
