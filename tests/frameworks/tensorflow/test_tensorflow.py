"""Keras models and SavedModels as MLflow stores them: reloaded, and right at every batch size."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import mlflow
import numpy as np
import pandas as pd
import pytest
import tensorflow as tf
from mlflow.models import Model

from mlflow_onnx_flavor import scoring
from mlflow_onnx_flavor.comparison import pyfunc_output
from mlflow_onnx_flavor.errors import ConversionError, UnsupportedModelError
from mlflow_onnx_flavor.frameworks.base import LoadedSource
from mlflow_onnx_flavor.frameworks.tensorflow import (
    export as tensorflow_export,
)
from mlflow_onnx_flavor.frameworks.tensorflow.framework import framework as tensorflow
from mlflow_onnx_flavor.inputs import Inputs
from mlflow_onnx_flavor.latency import tasks
from tests.frameworks.in_process import converted, session_of

VECTORS = np.random.default_rng(0).normal(size=(6, 4)).astype(np.float32)
SAMPLES = Path(__file__).parents[2] / "samples"
KERAS_2_ROWS = {
    "numbers": np.arange(8, dtype=np.float32).reshape(2, 4) / 8,
    "series": np.arange(20, dtype=np.float32).reshape(2, 5, 2) / 20,
}
KERAS_2_ANSWER = [[0.44177094, 0.27538842, 0.28284067], [0.68504775, 0.14258283, 0.17236948]]
PAIRS = {"left": VECTORS, "right": VECTORS[:, :2]}


@pytest.fixture(autouse=True)
def _seed():
    keras.utils.set_random_seed(0)


def sequential(*layers, shape=(4,), dtype=None):
    return keras.Sequential([keras.Input(shape, dtype=dtype), *layers])


def save(model, rows, folder):
    mlflow.tensorflow.save_model(
        model,
        str(folder),
        signature=mlflow.models.infer_signature(rows),
        input_example=first(rows, 3),
        pip_requirements=[],
    )
    return folder


def first(rows, size):
    return Inputs(rows).take(slice(0, size)).data


def right(model, rows, tmp_path, save=save):
    """Convert ``model`` and compare the answers of both pyfuncs, form and values, at two sizes."""
    folder = save(model, rows, tmp_path / "source")
    conversion, _ = converted(
        folder, "tensorflow", Inputs(first(rows, 3)), Inputs(rows), tmp_path / "out"
    )
    source = mlflow.pyfunc.load_model(str(folder))
    session = session_of(conversion)
    for size in (1, 5):
        expected = pyfunc_output.describe(source.predict(first(rows, size)))
        answer = pyfunc_output.describe(session.predict(first(rows, size)))
        assert pyfunc_output.compare_forms(expected, answer) == []
        for left, found in zip(expected["parts"], answer["parts"], strict=True):
            np.testing.assert_allclose(
                np.asarray(found["values"], float), np.asarray(left["values"], float), atol=1e-5
            )
    return conversion


def refusal(model, rows, tmp_path, save=save) -> str:
    """Why the first strategy does not convert ``model``."""
    folder = save(model, rows, tmp_path / "source")
    with pytest.raises(ConversionError) as refused:
        converted(folder, "tensorflow", Inputs(first(rows, 3)), None, tmp_path / "out")
    return refused.value.attempts[0].cause


def test_a_reloaded_sequential_model(tmp_path):
    normalization = keras.layers.Normalization()
    normalization.adapt(VECTORS)
    model = sequential(normalization, keras.layers.Dense(3, activation="softmax"))
    conversion = right(model, VECTORS, tmp_path)
    assert conversion.output_names == ("output",)


def test_a_convolutional_model(tmp_path):
    model = sequential(
        keras.layers.Conv2D(4, 3, activation="relu"),
        keras.layers.BatchNormalization(),
        keras.layers.Dropout(0.5),
        keras.layers.Flatten(),
        keras.layers.Dense(2),
        shape=(8, 8, 1),
    )
    right(model, np.random.default_rng(1).normal(size=(6, 8, 8, 1)).astype(np.float32), tmp_path)


def test_a_recurrent_model(tmp_path):
    right(sequential(keras.layers.LSTM(3), shape=(3, 4)), np.stack([VECTORS] * 3, 1), tmp_path)


def joined(inputs):
    together = keras.layers.Concatenate()([inputs["left"], inputs["right"]])
    return keras.layers.Dense(3)(together)


def named_inputs():
    return {name: keras.Input((PAIRS[name].shape[1],), name=name) for name in PAIRS}


def test_two_named_inputs(tmp_path):
    inputs = named_inputs()
    conversion = right(keras.Model(inputs, joined(inputs)), PAIRS, tmp_path)
    assert [feed.name for feed in conversion.graph.feeds] == ["left", "right"]


def test_inputs_of_one_shape_are_told_apart_by_name_whatever_their_order(tmp_path):
    inputs = {name: keras.Input((4,), name=name) for name in ("left", "right")}
    model = keras.Model(inputs, inputs["left"] - inputs["right"])
    right(model, {"right": VECTORS, "left": VECTORS * 3.0}, tmp_path)


def test_several_outputs_keep_their_names(tmp_path):
    taken = keras.Input((4,))
    answered = {"kind": keras.layers.Dense(3)(taken), "amount": keras.layers.Dense(1)(taken)}
    conversion = right(keras.Model(taken, answered), VECTORS, tmp_path)
    assert set(conversion.output_names) == {"kind", "amount"}


def test_several_outputs_in_a_list_stay_one(tmp_path):
    taken = keras.Input((4,))
    wide, narrow = keras.layers.Dense(3, name="kind")(taken), keras.layers.Dense(1)(taken)
    conversion = right(keras.Model(taken, [wide, narrow]), VECTORS, tmp_path)
    kind, amount = session_of(conversion).predict(VECTORS)
    assert (kind.shape, amount.shape) == ((6, 3), (6, 1))


@keras.saving.register_keras_serializable()
class Subclassed(keras.Model):
    def __init__(self, **options):
        super().__init__(**options)
        self.dense = keras.layers.Dense(4, activation="gelu")  # the exact GELU, through erfc
        self.dropout = keras.layers.Dropout(0.5)

    def call(self, inputs, training=False):
        return self.dropout(self.dense(inputs), training=training)


def test_a_subclassed_model_with_an_activation_that_tf2onnx_lacks(tmp_path):
    model = Subclassed()
    model(VECTORS)
    right(model, VECTORS, tmp_path)


def test_layers_that_sort_numbers_into_bins(tmp_path):
    bins = keras.layers.Discretization([-1.0, 0.0, 0.5])
    rows = np.concatenate([VECTORS, np.array([[-1.0, 0.0, 0.5, -2.0]], np.float32)])
    right(sequential(bins, keras.layers.CategoryEncoding(4, output_mode="count")), rows, tmp_path)


def test_layers_that_look_up_integers(tmp_path):
    taken = keras.Input((1,), dtype="int64")
    found = keras.layers.IntegerLookup(vocabulary=[3, 5, 8])(taken)
    model = keras.Model(taken, keras.layers.Embedding(4, 2)(found))
    right(model, np.array([[3], [5], [8], [4], [3], [0]]), tmp_path)


@pytest.mark.parametrize("mode", ["multi_hot", "count"])
def test_layers_that_count_what_they_look_up(mode, tmp_path):
    rows = np.array([[3, 3, 5], [5, 9, 3], [8, 0, 1], [4, 4, 4], [8, 8, 8]])
    found = keras.layers.IntegerLookup(vocabulary=[3, 5, 8], output_mode=mode)
    right(sequential(found, shape=(3,), dtype="int64"), rows, tmp_path)


def test_layers_that_look_up_texts(tmp_path):
    taken = keras.Input((1,), dtype="string")
    found = keras.layers.StringLookup(vocabulary=["a", "b"])(taken)
    model = keras.Model(taken, keras.layers.Embedding(3, 2)(found))
    rows = np.array([["a"], ["b"], ["unknown"]], dtype=object)
    # MLflow's pyfunc cannot serve such a model: Keras's predict takes no array of texts.
    conversion, source = converted(
        save(model, rows, tmp_path / "s"), "tensorflow", Inputs(rows), None, tmp_path / "out"
    )
    session = session_of(conversion)
    expected = model(tf.constant(rows)).numpy()
    np.testing.assert_allclose(session.predict(rows)["output"], expected, rtol=1e-6)


def test_a_layer_without_onnx_form_is_refused_by_name(tmp_path):
    model = sequential(keras.layers.Hashing(5, name="by_hash"), shape=(2,), dtype="int64")
    cause = refusal(model, np.array([[1, 2], [3, 4], [5, 6]]), tmp_path)
    assert "no ONNX form of StringToHashBucketFast (in 'by_hash')" in cause


@keras.saving.register_keras_serializable()
class BranchInPython(keras.Model):
    def call(self, inputs):
        if tf.reduce_sum(inputs) > 0:
            return inputs * 2.0
        return inputs - 1.0


def test_a_lambda_is_refused_by_its_layer_with_what_replaces_it(tmp_path):
    taken = keras.Input((4,))
    twice = keras.layers.Lambda(lambda x: x * 2, name="twice")
    mlflow.tensorflow.save_model(
        keras.Model(taken, twice(taken)), str(tmp_path / "s"), pip_requirements=[]
    )
    with pytest.raises(UnsupportedModelError, match=r"\('twice'\).* compute it with keras.ops"):
        converted(tmp_path / "s", "tensorflow", Inputs(np.ones((2, 4), np.float32)), None, tmp_path)


def test_a_branch_in_python_that_depends_on_data_is_refused(tmp_path):
    model = BranchInPython()
    model(VECTORS)
    cause = refusal(model, VECTORS, tmp_path)
    assert "BranchInPython.call asks for the value of a tensor in Python" in cause


class Scaled(tf.Module):
    def __init__(self):
        super().__init__()
        self.weight = tf.Variable([[1.0], [2.0], [3.0], [4.0]])

    @tf.function(input_signature=[tf.TensorSpec([None, 4], tf.float32)])
    def __call__(self, x):
        return x @ self.weight


class Branching(tf.Module):
    @tf.function(input_signature=[tf.TensorSpec([None, 4], tf.float32)])
    def __call__(self, x):
        if tf.reduce_sum(x) > 0:  # autograph keeps both arms
            return x * 2.0
        return x - 1.0


class OfOneShape(tf.Module):
    @tf.function
    def __call__(self, x):
        return x * 2.0


def test_a_saved_model_of_a_module(tmp_path):
    right(Scaled(), VECTORS, tmp_path)


def test_a_branch_in_a_graph_keeps_both_arms(tmp_path):
    conversion = right(Branching(), np.abs(VECTORS), tmp_path)
    session = session_of(conversion)
    below = -np.abs(VECTORS)
    np.testing.assert_allclose(session.predict(below), below - 1.0)


def test_a_saved_model_that_was_called_with_one_shape_only_is_refused_with_what_to_do(tmp_path):
    model = OfOneShape()
    model(tf.constant(VECTORS[:2]))
    cause = refusal(model, VECTORS, tmp_path)
    assert "give the tf.function an input_signature whose first axis is None" in cause


class WithoutCall(tf.Module):
    @tf.function(input_signature=[tf.TensorSpec([None, 4], tf.float32)])
    def score(self, x):
        return x * 2.0


def test_a_module_without_a_call_is_refused_with_what_to_do(tmp_path):
    assert "no __call__, which MLflow's predict calls; give" in refusal(
        WithoutCall(), VECTORS, tmp_path
    )


class Served(tf.Module):
    """A signature with named inputs and outputs, one of which has an input's name."""

    def __init__(self, wide: bool):
        super().__init__()
        self.weight = tf.Variable([[1.0, 2.0], [3.0, 4.0]])
        self.wide = wide

    @tf.function(
        input_signature=[
            tf.TensorSpec([None], tf.float64, name="u"),
            tf.TensorSpec([None], tf.float64, name="v"),
        ]
    )
    def serve(self, u, v):
        both = tf.cast(tf.stack([u, v], 1), tf.float32) @ self.weight
        return {"column": both[:, :1], "u": both[:, 1]} | ({"both": both} if self.wide else {})


def save_signature(module, rows, folder):
    """As MLflow 1 logged SavedModels; MLflow 3 serves them still."""
    tf.saved_model.save(module, str(folder / "tfmodel"), signatures=module.serve)
    model = Model(signature=mlflow.models.infer_signature(rows))
    model.add_flavor(
        "tensorflow",
        saved_model_dir="tfmodel",
        meta_graph_tags=["serve"],
        signature_def_key="serving_default",
        model_type="tf1-estimator",
    )
    mlflow.pyfunc.add_to_model(model, loader_module="mlflow.tensorflow")
    model.save(str(folder / "MLmodel"))
    return folder


@pytest.mark.parametrize(("container", "wide"), [(dict, True), (pd.DataFrame, False)])
def test_a_signature_answers_under_its_own_names(container, wide, tmp_path):
    rows = container({"u": VECTORS[:, 0].astype(float), "v": VECTORS[:, 1].astype(float)})
    right(Served(wide), rows, tmp_path, save_signature)


@pytest.mark.parametrize("as_saved_model", [False, True])
def test_models_that_the_keras_flavor_logged(as_saved_model, tmp_path):
    def save_with_keras(model, rows, folder):
        mlflow.keras.save_model(
            model,
            str(folder),
            signature=mlflow.models.infer_signature(rows),
            pip_requirements=[],
            save_exported_model=as_saved_model,
        )
        return folder

    right(sequential(keras.layers.Dense(2)), VECTORS, tmp_path, save_with_keras)


def test_weights_stay_in_the_file_until_protobuf_cannot_hold_them(tmp_path, monkeypatch):
    model = sequential(keras.layers.Dense(300), keras.layers.Dense(2))
    source = LoadedSource(model, None, tmp_path, {})
    expected = tensorflow.reference_outputs(source, Inputs(VECTORS))["output"]
    strategy = tensorflow.strategies(source, Inputs(VECTORS))[0]
    for limit, beside in ((tensorflow_export.MAX_EMBEDDED_BYTES, False), (0, True)):
        monkeypatch.setattr(tensorflow_export, "MAX_EMBEDDED_BYTES", limit)
        strategy.export(tmp_path / "model.onnx")
        assert (tmp_path / "model.onnx.data").exists() == beside
        session = scoring.load_session(str(tmp_path / "model.onnx"))
        np.testing.assert_allclose(session.run(VECTORS)["output"], expected, atol=1e-5)


@pytest.mark.parametrize("name", ["from_function", "keras_export"])
def test_each_strategy_is_right_by_itself(name, tmp_path):
    inputs = named_inputs()
    source = LoadedSource(keras.Model(inputs, joined(inputs)), None, tmp_path, {})
    example = Inputs({"right": PAIRS["right"], "left": PAIRS["left"]})
    strategies = {each.name: each for each in tensorflow.strategies(source, example)}
    export = strategies[name].export(tmp_path / "model.onnx")
    session = scoring.load_session(str(tmp_path / "model.onnx")).session
    found = session.run(None, {feed.name: PAIRS[feed.key] for feed in export.feeds})
    expected = tensorflow.reference_outputs(source, example)
    np.testing.assert_allclose(found[0], expected["output"], atol=1e-5)


def save_as_keras_2_did(folder):
    """The sample as an MLflow of Keras 2's days logged it."""
    shutil.copytree(SAMPLES / "keras2", folder / "data" / "model")
    (folder / "data" / "keras_module.txt").write_text("keras")
    (folder / "data" / "save_format.txt").write_text("tf")
    metadata = Model(signature=mlflow.models.infer_signature(KERAS_2_ROWS))
    metadata.add_flavor(
        "tensorflow", data="data", model_type="keras", keras_version="2.15.0", save_format="tf"
    )
    metadata.add_flavor("python_function", loader_module="mlflow.tensorflow", data="data", env={})
    metadata.save(str(folder / "MLmodel"))
    return folder


def test_a_saved_model_that_keras_2_wrote(tmp_path):
    folder = save_as_keras_2_did(tmp_path / "source")
    example = Inputs(KERAS_2_ROWS)
    conversion, source = converted(folder, "tensorflow", example, None, tmp_path / "out")
    session = session_of(conversion)
    np.testing.assert_allclose(session.predict(KERAS_2_ROWS), KERAS_2_ANSWER, atol=1e-6)
    answered = source.call("answer", inputs_path=str(source.path_of(example)))
    np.testing.assert_allclose(answered["parts"][0]["values"], KERAS_2_ANSWER, atol=1e-6)


def test_its_latency_is_that_of_the_functions_within(tmp_path):
    folder = save_as_keras_2_did(tmp_path / "source")
    rows = Inputs(KERAS_2_ROWS).save(tmp_path / "rows")
    two = {"batch_size": 2, "sequence_length": None}
    assert tasks.open_model(str(folder), None, [(None, str(rows))], two)["first_call_ms"] > 0
    tasks.meet_workload(two)
    assert len(tasks.run_block(two, 1.0, 0.0)["pyfunc"])
