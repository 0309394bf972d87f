"""Calling a Keras model or SavedModel with MLflow's inputs, as MLflow's pyfunc does."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import pandas as pd
import tensorflow as tf

from mlflow_onnx_flavor.frameworks.base import LoadedSource
from mlflow_onnx_flavor.frameworks.tabular import MATRIX
from mlflow_onnx_flavor.inputs import Inputs
from mlflow_onnx_flavor.schemas.graph import FeedSpec

OUTPUT = "output"

Tensors = Mapping[str, Any]


@dataclass(frozen=True)
class Call:
    """A model as a function from named tensors to named tensors, and arrays to call it with.

    ``arrays`` have the shape (rows, ...).  ``columns`` are the columns of the DataFrame that became
    the only array; None if the inputs were no DataFrame, or became one array per column.
    ``layers`` are the names of a Keras model's layers.
    """

    function: Callable[[Tensors], dict[str, Any]]
    arrays: Mapping[str, np.ndarray]
    columns: tuple[str, ...] | None
    layers: frozenset[str]

    def answers(self) -> dict[str, np.ndarray]:
        """Return the model's outputs by name, each of shape (rows, ...)."""
        tensors = {name: tf.constant(array) for name, array in self.arrays.items()}
        return {name: np.asarray(tensor) for name, tensor in self.function(tensors).items()}

    def feeds(self, names: Sequence[str]) -> tuple[FeedSpec, ...]:
        """Return the feeds of a graph whose inputs ``names`` stand in the order of ``arrays``."""
        if self.columns is not None:
            dtype = str(self.arrays[MATRIX].dtype)
            return (FeedSpec(name=names[0], layout="matrix", dtype=dtype, columns=self.columns),)
        return tuple(
            FeedSpec(name=name, layout="tensor", dtype=str(array.dtype), key=key)
            for name, (key, array) in zip(names, self.arrays.items(), strict=True)
        )


def call_of(source: LoadedSource, inputs: Inputs) -> Call:
    """Return the call of the model on ``inputs``.

    A DataFrame becomes one matrix, or one array per column for a SavedModel's signature.
    """
    arrays, columns = _arrays(source, inputs)
    return Call(_function(source), arrays, columns, frozenset(_layers(source.native)))


def is_keras(model: Any) -> bool:
    """Return whether ``model`` is a Keras model."""
    return isinstance(model, keras.Model)


def _arrays(
    source: LoadedSource, inputs: Inputs
) -> tuple[dict[str, np.ndarray], tuple[str, ...] | None]:
    data = inputs.data
    if isinstance(data, np.ndarray):
        return {MATRIX: data}, None
    if isinstance(data, dict):
        return dict(data), None
    if _serves_signature(source):
        return {str(name): _column(data[name]) for name in data.columns}, None
    return {MATRIX: data.to_numpy()}, tuple(map(str, data.columns))


def _layers(model: Any) -> Iterator[str]:
    if is_keras(model):
        for layer in model.layers:
            yield layer.name
            yield from _layers(layer)


def _function(source: LoadedSource) -> Callable[[Tensors], dict[str, Any]]:
    model = source.native
    if is_keras(model):
        return lambda tensors: _named(_inlined(model, _positional(tensors)), model)
    if source.flavor.get("save_exported_model"):  # as mlflow.keras calls its exported models
        return lambda tensors: _named(model.serve(_positional(tensors)), model)
    if _serves_signature(source):
        infer = model.signatures[source.flavor.get("signature_def_key") or "serving_default"]
        return lambda tensors: _named(infer(**tensors), model)
    return lambda tensors: _named(model(_positional(tensors)), model)


def _inlined(model: Any, tensors: Any) -> Any:
    """Return the outputs of the Keras model; during tracing, with every inner function inlined.

    Keras compiles some convolutions with XLA, as a function that is otherwise never inlined and
    that tf2onnx cannot read.
    """
    if tf.executing_eagerly():
        return model(tensors, training=False)
    before = tf.config.functions_run_eagerly()
    tf.config.run_functions_eagerly(True)
    try:
        return model(tensors, training=False)
    finally:
        tf.config.run_functions_eagerly(before)


def _serves_signature(source: LoadedSource) -> bool:
    """Return whether MLflow calls a signature by name; it calls a tf.Module as a function."""
    if source.flavor.get("model_type") == "tf2-module" or is_keras(source.native):
        return False
    if source.flavor.get("save_exported_model"):
        return False
    return bool(getattr(source.native, "signatures", None))


def _positional(tensors: Tensors) -> Any:
    """Return a single tensor as it is, and several as a dictionary, as Keras takes them."""
    return next(iter(tensors.values())) if len(tensors) == 1 else dict(tensors)


def _named(answer: Any, model: Any) -> dict[str, Any]:
    if isinstance(answer, Mapping):
        return {str(name): answer[name] for name in sorted(answer)}  # TensorFlow loses the order
    if isinstance(answer, list | tuple):
        names = getattr(model, "output_names", None) or [f"output_{n}" for n in range(len(answer))]
        return dict(zip(names, answer, strict=True))
    return {OUTPUT: answer}


def _column(column: pd.Series) -> np.ndarray:
    """Return the column as an array; the arrays of a column of arrays are stacked."""
    if column.dtype == object and len(column) and not isinstance(column.iloc[0], str):
        return np.stack([np.asarray(each) for each in column])
    return column.to_numpy()
