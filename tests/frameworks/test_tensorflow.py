"""Keras models and SavedModels as MLflow stores them: reloaded, and right at every batch size."""

from __future__ import annotations

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import mlflow
import numpy as np
import pytest
import tensorflow as tf

from mlflow_onnx_flavor import answers, scoring
from mlflow_onnx_flavor.inputs import Inputs
from tests.frameworks.in_process import converted

VECTORS = np.random.default_rng(0).normal(size=(6, 4)).astype(np.float32)


@pytest.fixture(autouse=True)
def _seed():
    keras.utils.set_random_seed(0)


def right(model, rows, tmp_path, take=lambda rows, size: rows[:size]):
    folder = tmp_path / "source"
    mlflow.tensorflow.save_model(
        model,
        str(folder),
        signature=mlflow.models.infer_signature(rows),
        input_example=take(rows, 3),
        pip_requirements=[],
    )
    conversion, _ = converted(
        folder, "tensorflow", Inputs(take(rows, 3)), Inputs(rows), tmp_path / "out"
    )
    source = mlflow.pyfunc.load_model(str(folder))
    session = scoring.open_graph(str(conversion.path), conversion.graph.model_dump(mode="json"))
    for size in (1, 5):
        expected = answers.describe(source.predict(take(rows, size)))
        answer = answers.describe(session.predict(take(rows, size)))
        assert answers.compare_forms(expected, answer) == []
        for left, right in zip(expected["parts"], answer["parts"], strict=True):
            np.testing.assert_allclose(
                np.asarray(right["values"], float), np.asarray(left["values"], float), atol=1e-5
            )
    return conversion


def test_a_reloaded_sequential_model(tmp_path):
    normalization = keras.layers.Normalization()
    normalization.adapt(VECTORS)
    model = keras.Sequential(
        [keras.Input((4,)), normalization, keras.layers.Dense(3, activation="softmax")]
    )
    conversion = right(model, VECTORS, tmp_path)
    assert conversion.output_names == ("output",)


def test_a_convolutional_model(tmp_path):
    model = keras.Sequential(
        [
            keras.Input((8, 8, 1)),
            keras.layers.Conv2D(4, 3, activation="relu"),
            keras.layers.BatchNormalization(),
            keras.layers.Flatten(),
            keras.layers.Dense(2),
        ]
    )
    right(model, np.random.default_rng(1).normal(size=(6, 8, 8, 1)).astype(np.float32), tmp_path)


def test_two_named_inputs(tmp_path):
    left, right_input = keras.Input((4,), name="left"), keras.Input((2,), name="right")
    joined = keras.layers.Concatenate()([left, right_input])
    model = keras.Model({"left": left, "right": right_input}, keras.layers.Dense(3)(joined))
    rows = {"left": VECTORS, "right": VECTORS[:, :2]}
    conversion = right(
        model, rows, tmp_path, lambda rows, size: {k: v[:size] for k, v in rows.items()}
    )
    assert [feed.name for feed in conversion.graph.feeds] == ["left", "right"]


class Scaled(tf.Module):
    def __init__(self):
        super().__init__()
        self.weight = tf.Variable([[1.0], [2.0], [3.0], [4.0]])

    @tf.function(input_signature=[tf.TensorSpec([None, 4], tf.float32)])
    def __call__(self, x):
        return x @ self.weight


def test_a_saved_model_of_a_module(tmp_path):
    right(Scaled(), VECTORS, tmp_path)
