"""SavedModels that Keras 2 wrote, which Keras 3, and so MLflow's loader, does not read.

TensorFlow does: the functions within are called as Keras 2's ``predict`` called them.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import mlflow.pyfunc
import numpy as np
import tensorflow as tf
from mlflow.models import Model

from mlflow_onnx_flavor.frameworks.tensorflow.compat import served_as_keras

# Keras 2's own batch size in ``predict``.
_BATCH = 32


class Keras2Model:
    """Such a SavedModel as a Keras model: called with tensors, or asked to ``predict`` arrays."""

    def __init__(self, folder: Path):
        self._loaded = tf.saved_model.load(str(folder))
        self.input_specs: dict[str, Any] = {}
        if signature := self._loaded.signatures.get("serving_default"):
            self.input_specs = signature.structured_input_signature[1]

    def __call__(self, tensors: Any) -> Any:
        """``tensors``: one, or several by name; cast as Keras casts them."""
        if isinstance(tensors, Mapping):
            given = {
                name: tf.cast(each, self.input_specs[name].dtype)
                if name in self.input_specs
                else each
                for name, each in tensors.items()
            }
            return self._loaded(given, training=False)
        specs = list(self.input_specs.values())
        given = tf.cast(tensors, specs[0].dtype) if len(specs) == 1 else tensors
        return self._loaded(given, training=False)

    def predict(self, data: Any) -> Any:
        """Arrays of shape (rows, ...), in the structure in which the model answers."""
        rows = len(next(iter(data.values()))) if isinstance(data, Mapping) else len(data)
        answers = []
        for start in range(0, rows, _BATCH):
            batch = tf.nest.map_structure(
                lambda each, start=start: tf.constant(np.asarray(each)[start : start + _BATCH]),
                dict(data) if isinstance(data, Mapping) else data,
            )
            answers.append(self(batch))
        return tf.nest.map_structure(
            lambda *parts: np.concatenate([np.asarray(part) for part in parts]), *answers
        )


def as_pyfunc(model: Keras2Model, path: Path) -> Any:
    """MLflow's wrapper of a Keras model around ``model``."""
    metadata = Model.load(str(path))
    wrapper = served_as_keras(model, metadata.signature)
    return mlflow.pyfunc.PyFuncModel(model_meta=metadata, model_impl=wrapper)
