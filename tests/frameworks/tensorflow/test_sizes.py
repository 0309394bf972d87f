"""Axes of Keras models that the signature leaves open, beside that of the batch."""

from __future__ import annotations

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import mlflow
import numpy as np
import pytest
from mlflow.models import ModelSignature
from mlflow.types import Schema, TensorSpec

from mlflow_onnx_flavor.errors import ConversionError
from mlflow_onnx_flavor.inputs import Inputs
from tests.frameworks.in_process import converted, session_of


def test_axes_that_the_signature_leaves_open_vary(tmp_path):
    taken = keras.Input((None, 2))
    steps = keras.layers.Bidirectional(keras.layers.LSTM(3, return_sequences=True))(taken)
    model = keras.Model(taken, keras.layers.Conv1D(2, 3, padding="same")(steps))
    open_axes = ModelSignature(Schema([TensorSpec(np.dtype(np.float32), (-1, -1, 2))]))
    rows = np.random.default_rng(1).normal(size=(3, 5, 2)).astype(np.float32)
    mlflow.tensorflow.save_model(
        model, str(tmp_path / "s"), signature=open_axes, input_example=rows, pip_requirements=[]
    )
    conversion, _ = converted(tmp_path / "s", "tensorflow", Inputs(rows), None, tmp_path / "out")
    session = session_of(conversion)
    for count, length in ((1, 1), (4, 5), (2, 9)):
        asked = np.random.default_rng(length).normal(size=(count, length, 2)).astype(np.float32)
        expected = model.predict(asked, verbose=0)
        np.testing.assert_allclose(session.predict(asked), expected, rtol=1e-4, atol=1e-5)


def test_a_layer_that_needs_a_size_that_is_open_is_refused_with_what_to_do(tmp_path):
    taken = keras.Input((None, None, 1))
    layer = keras.layers.UpSampling2D(2, interpolation="bilinear")
    open_axes = ModelSignature(Schema([TensorSpec(np.dtype(np.float32), (-1, -1, -1, 1))]))
    rows = np.ones((3, 4, 4, 1), np.float32)
    mlflow.tensorflow.save_model(
        keras.Model(taken, layer(taken)),
        str(tmp_path / "s"),
        signature=open_axes,
        pip_requirements=[],
    )
    with pytest.raises(ConversionError, match="UpSampling2D.call asks for a size .*served at in i"):
        converted(tmp_path / "s", "tensorflow", Inputs(rows), None, tmp_path / "out")


@keras.saving.register_keras_serializable()
class Branching(keras.layers.Layer):
    def __init__(self, few: int, **options):
        super().__init__(**options)
        self.few = few

    def call(self, x):
        return x * 2 if x.shape[1] is None or x.shape[1] < self.few else x * 3

    def get_config(self):
        return super().get_config() | {"few": self.few}


def saved_with_open_steps(model: keras.Model, folder) -> Inputs:
    open_axes = ModelSignature(Schema([TensorSpec(np.dtype(np.float32), (-1, -1, 3))]))
    mlflow.tensorflow.save_model(model, str(folder), signature=open_axes, pip_requirements=[])
    return Inputs(np.random.default_rng(1).normal(size=(3, 5, 3)).astype(np.float32))


@pytest.mark.parametrize(
    ("few", "where"), [(7, "a size of 10 along axis 1"), (2, "the example itself")]
)
def test_a_branch_on_a_size_that_is_open_is_refused_with_what_to_do(few, where, tmp_path):
    taken = keras.Input((None, 3))
    rows = saved_with_open_steps(keras.Model(taken, Branching(few)(taken)), tmp_path / "s")
    with pytest.raises(ConversionError, match=f"{where}.* take it out of its branches"):
        converted(tmp_path / "s", "tensorflow", rows, None, tmp_path / "out")


def test_a_layer_for_each_of_any_number_of_steps_converts(tmp_path):
    taken = keras.Input((None, 3))
    inner = keras.Sequential([keras.layers.Dense(4), keras.layers.LayerNormalization()])
    model = keras.Model(taken, keras.layers.TimeDistributed(inner)(taken))
    rows = saved_with_open_steps(model, tmp_path / "s")
    conversion, _ = converted(tmp_path / "s", "tensorflow", rows, None, tmp_path / "out")
    session = session_of(conversion)
    for count, length in ((1, 1), (4, 9)):
        asked = np.random.default_rng(length).normal(size=(count, length, 3)).astype(np.float32)
        expected = model(asked)  # predict, once it has been traced anew, counts rows for steps
        np.testing.assert_allclose(session.predict(asked), expected, rtol=1e-4, atol=1e-5)
