"""Keras models put together at random convert and are right on rows that were not seen."""

from __future__ import annotations

import tempfile
from pathlib import Path

import mlflow
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlflow_onnx_flavor.inputs import Inputs
from tests.frameworks.generated import generated
from tests.frameworks.in_process import converted, session_of

keras = pytest.importorskip("keras")
layers = keras.layers

LENGTH, WIDTH = 6, 8

# Each keeps the shape (batch, LENGTH, WIDTH).
LAYERS = {
    "dense": lambda: layers.Dense(WIDTH),
    "dense with relu": lambda: layers.Dense(WIDTH, activation="relu"),
    "gelu": lambda: layers.Activation("gelu"),
    "elu": lambda: layers.ELU(),
    "leaky relu": lambda: layers.LeakyReLU(0.2),
    "softmax": lambda: layers.Softmax(),
    "layer norm": lambda: layers.LayerNormalization(),
    "batch norm": lambda: layers.BatchNormalization(),
    "dropout": lambda: layers.Dropout(0.5),
    "convolution": lambda: layers.Conv1D(WIDTH, 3, padding="same"),
    "causal convolution": lambda: layers.Conv1D(WIDTH, 3, padding="causal", dilation_rate=2),
    "separable convolution": lambda: layers.SeparableConv1D(WIDTH, 3, padding="same"),
    "average pooling": lambda: layers.AveragePooling1D(3, strides=1, padding="same"),
    "max pooling": lambda: layers.MaxPooling1D(3, strides=1, padding="same"),
    "gru": lambda: layers.GRU(WIDTH, return_sequences=True),
    "lstm": lambda: layers.LSTM(WIDTH, return_sequences=True),
    "permute": lambda: keras.Sequential([layers.Permute((2, 1)), layers.Permute((2, 1))]),
    "reshape": lambda: layers.Reshape((LENGTH, WIDTH)),
}

stacks = st.lists(st.sampled_from(sorted(LAYERS)), min_size=1, max_size=5)


def check(names: list[str], residual: bool, seed: int) -> None:
    keras.utils.set_random_seed(seed)
    given = keras.Input((LENGTH, WIDTH))
    value = given
    for name in names:
        value = LAYERS[name]()(value)
    if residual:
        value = layers.Add()([value, given])
    model = keras.Model(given, value)
    generator = np.random.default_rng(seed)

    def rows(count):
        return generator.normal(size=(count, LENGTH, WIDTH)).astype(np.float32)

    with tempfile.TemporaryDirectory() as folder:
        source, example = Path(folder) / "source", rows(4)
        mlflow.tensorflow.save_model(
            model,
            str(source),
            signature=mlflow.models.infer_signature(example, model.predict(example, verbose=0)),
            input_example=example,
            pip_requirements=[],
        )
        conversion, _ = converted(source, "tensorflow", Inputs(example), None, Path(folder) / "o")
        session = session_of(conversion)
        for count in (1, 3, 33):
            asked = rows(count)
            (found,) = session.run(asked).values()
            expected = model.predict(asked, verbose=0)
            np.testing.assert_allclose(found, expected, rtol=5e-5, atol=5e-5)


@generated(4)
@given(names=stacks, residual=st.booleans(), seed=st.integers(0, 99))
def test_a_stack_of_layers_is_right_on_batches_unseen(names, residual, seed):
    check(names, residual, seed)


@pytest.mark.slow
@generated(60)
@given(names=stacks, residual=st.booleans(), seed=st.integers(0, 999))
def test_many_stacks_of_layers_are_right_on_batches_unseen(names, residual, seed):
    check(names, residual, seed)
