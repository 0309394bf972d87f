"""Answers as a DataFrame with named columns, where they are asked for."""

from __future__ import annotations

import mlflow
import numpy as np
import pandas as pd
import pytest

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


def test_what_has_no_row_for_each_row_is_no_column():
    with pytest.raises(ValueError, match="'total' has 1 values for 3 rows.*without as_frame"):
        frame_of({"total": np.array(1.0)}, ROWS)
