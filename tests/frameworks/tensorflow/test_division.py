"""Division that rounds down, and its remainder, of either sign."""

from __future__ import annotations

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import mlflow
import numpy as np
import pytest

from mlflow_onnx_flavor.inputs import Inputs
from tests.frameworks.in_process import converted, session_of


@pytest.mark.parametrize("dtype", ["int32", "int64", "float32", "float64"])
def test_numbers_of_either_sign_are_divided_as_in_keras(dtype, tmp_path):
    left, right = (keras.Input((1,), dtype=dtype, name=name) for name in ("left", "right"))
    ops = keras.ops
    results = {
        "divided": ops.floor_divide(left, right),
        "by_seven": left // 7,
        "rest": ops.mod(left, right),
        "rest_of_three": left % 3,
        "rest_of_minus_three": ops.mod(left, -3),
    }
    model = keras.Model({"left": left, "right": right}, results)
    example = {"left": np.array([[3], [8]], dtype), "right": np.array([[2], [5]], dtype)}
    folder = tmp_path / "source"
    mlflow.tensorflow.save_model(
        model,
        str(folder),
        signature=mlflow.models.infer_signature(example),
        input_example=example,
        pip_requirements=[],
    )
    conversion, _ = converted(folder, "tensorflow", Inputs(example), None, tmp_path / "out")
    every = [-9, -7, -3, -1, 0, 1, 3, 7, 9]
    pairs = np.array([(a, b) for a in every for b in every if b], dtype)
    rows = {"left": pairs[:, :1], "right": pairs[:, 1:]}
    expected = {name: np.asarray(value) for name, value in model(rows).items()}
    found = session_of(conversion).run(rows)
    for name, exact in expected.items():
        np.testing.assert_array_equal(found[name], exact, err_msg=name)
