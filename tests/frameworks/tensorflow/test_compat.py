"""Each entry of `frameworks.tensorflow.compat` is needed still; delete the one whose test fails."""

from __future__ import annotations

import inspect
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
import tf2onnx.graph

from mlflow_onnx_flavor.frameworks.tensorflow import compat

SAMPLES = Path(__file__).parents[2] / "samples"


def test_numpy_has_no_product_which_tf2onnx_calls():
    assert not hasattr(np, "product")
    assert "np.product(" in inspect.getsource(tf2onnx.graph)


def test_a_layer_does_not_say_publicly_which_layers_it_holds():
    class Holder(keras.layers.Layer):
        def __init__(self):
            super().__init__()
            self.inner = keras.layers.Dense(2)

    holder = Holder()
    assert compat.layers_of(holder) == [holder.inner]
    assert not hasattr(holder, "layers")


def test_keras_has_no_hooks_on_what_a_layer_answers():
    assert [
        name for name in dir(keras.layers.Layer) if "hook" in name.strip("_") and name[0] != "_"
    ] == []


def test_keras_3_and_so_mlflow_s_loader_does_not_read_what_keras_2_wrote():
    with pytest.raises(ValueError, match="File format not supported"):
        keras.models.load_model(SAMPLES / "keras2")


def test_keras_maps_over_too_few_steps_where_their_number_is_open():
    layer = keras.layers.TimeDistributed(keras.layers.Dense(2))
    rows = np.arange(2 * 5 * 3, dtype=np.float32).reshape(2, 5, 3)
    expected = layer(rows).numpy()

    def traced():
        spec = tf.TensorSpec([None, None, 3], tf.float32)
        return tf.function(lambda tensor: layer(tensor), input_signature=[spec])

    with compat.steps_as_rows():
        np.testing.assert_allclose(traced()(rows).numpy(), expected, rtol=1e-5)
    try:
        own = traced()(rows).numpy()
    except tf.errors.InvalidArgumentError:  # a shape that does not come out even
        return
    assert own.shape != expected.shape or not np.allclose(own, expected)
