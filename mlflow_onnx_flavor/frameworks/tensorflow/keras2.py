"""SavedModels of Keras 2, which Keras 3, and therefore MLflow's loader, does not read.

TensorFlow reads them: their functions are called as Keras 2's ``predict`` called them.
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

# The default batch size of ``predict`` in Keras 2.
_BATCH = 32


class Keras2Model:
    """A SavedModel of Keras 2, callable with tensors and with a ``predict`` for arrays."""

    def __init__(self, folder: Path):
        self._loaded = tf.saved_model.load(str(folder))
        self.input_specs: dict[str, Any] = {}
        if signature := self._loaded.signatures.get("serving_default"):
            self.input_specs = signature.structured_input_signature[1]

    def __call__(self, tensors: Any) -> Any:
        """Return the outputs for one tensor or several by name, cast as Keras casts them."""
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
        """Return the outputs as arrays of shape (rows, ...), nested as the model returns them."""
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
    """Return MLflow's pyfunc of a Keras model around ``model``."""
    metadata = Model.load(str(path))
    wrapper = served_as_keras(model, metadata.signature)
    return mlflow.pyfunc.PyFuncModel(model_meta=metadata, model_impl=wrapper)
