"""Keras 3 models and SavedModels, as `mlflow.tensorflow` and `mlflow.keras` store them.

The output of a model with a single output is "output"; several outputs keep their names.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from mlflow_onnx_flavor.frameworks.base import (
    Export,
    Framework,
    LoadedSource,
    MoreRows,
    Strategy,
    no_more_rows,
    pyfunc_of,
)
from mlflow_onnx_flavor.frameworks.tensorflow import saved_by_keras_2
from mlflow_onnx_flavor.frameworks.tensorflow.calls import call_of, is_keras
from mlflow_onnx_flavor.frameworks.tensorflow.export import export_function, export_keras
from mlflow_onnx_flavor.frameworks.tensorflow.float64 import float64_answers
from mlflow_onnx_flavor.frameworks.tensorflow.keras2 import Keras2Model, as_pyfunc
from mlflow_onnx_flavor.frameworks.tensorflow.lambdas import lambdas_explained
from mlflow_onnx_flavor.frameworks.tensorflow.layers import answers_within
from mlflow_onnx_flavor.frameworks.tensorflow.sizes import refuse_other_answers
from mlflow_onnx_flavor.inputs import Inputs


class TensorFlow(Framework):
    """The TensorFlow framework: Keras models and SavedModels."""

    def load(self, path: Path, flavor: Mapping[str, Any]) -> LoadedSource:
        """Load what `mlflow.tensorflow` or `mlflow.keras` stored, also SavedModels of Keras 2."""
        # Keras draws a progress bar for every predict, which is what MLflow's pyfunc calls.
        tf.keras.utils.disable_interactive_logging()
        if folder := saved_by_keras_2(path, flavor):
            model = Keras2Model(folder)
            return LoadedSource(model, as_pyfunc(model, path), path, flavor)
        with lambdas_explained(path):
            pyfunc = pyfunc_of(path)
        return LoadedSource(pyfunc.get_raw_model(), pyfunc, path, flavor)

    def reference_outputs(self, source: LoadedSource, inputs: Inputs) -> dict[str, np.ndarray]:
        """Return every output by name, of shape (rows, ...)."""
        return call_of(source, inputs).answers()

    def strategies(
        self, source: LoadedSource, example: Inputs, evaluation: MoreRows = no_more_rows
    ) -> list[Strategy]:
        """Return tf2onnx on a function and, for a Keras model, Keras's own exporter after it.

        tf2onnx's `from_keras` fails on Sequential and on reloaded Keras 3 models
        (onnx/tensorflow-onnx#2448); a function with a signature works for every kind of model.
        """

        def with_signature(path: Path) -> Export:
            call = call_of(source, example)
            made = export_function(source.native, call, path, _signature(source))
            return refuse_other_answers(source, example, path, made)

        def by_keras(path: Path) -> Export:
            made = export_keras(source.native, call_of(source, example), path)
            return refuse_other_answers(source, example, path, made)

        why = "tf2onnx on a function with a signature, which works for reloaded models too"
        found = [Strategy("from_function", why, with_signature, "tf2onnx")]
        if is_keras(source.native):
            found.append(Strategy("keras_export", "Keras's own exporter", by_keras, "keras"))
        return found

    def in_float64(self, source: LoadedSource) -> Callable[[Inputs], dict[str, np.ndarray]] | None:
        """Return a function like `reference_outputs` in float64; None if the model has none."""
        return float64_answers(source)

    def layer_outputs(self, source: LoadedSource, inputs: Inputs) -> dict[str, np.ndarray]:
        """Return the outputs of a Keras model's layers, by nested names such as "encoder/proj"."""
        return answers_within(source.native, call_of(source, inputs))


def _signature(source: LoadedSource) -> Any:
    return source.pyfunc.metadata.signature if source.pyfunc is not None else None


framework = TensorFlow()
