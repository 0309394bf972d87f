"""TensorFlow: Keras 3 models and SavedModels as `mlflow.tensorflow` stores them.

Outputs: "output" of a model with one, the names of a model with several.

tf2onnx's `from_keras` fails on reloaded Keras 3 models (onnx/tensorflow-onnx#2448), so models go
through a function with a signature, which serves every kind alike.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from mlflow_onnx_flavor.frameworks.base import Export, LoadedSource, Strategy
from mlflow_onnx_flavor.frameworks.columns import MATRIX
from mlflow_onnx_flavor.frameworks.exported_graph import save
from mlflow_onnx_flavor.graph_spec import FeedSpec
from mlflow_onnx_flavor.inputs import Inputs

flavor = "tensorflow"
extra = "tensorflow"
modules = ("tensorflow", "tf2onnx")
distributions = ("tensorflow", "tensorflow-cpu", "keras", "tf2onnx", "onnx", "numpy")

OUTPUT = "output"
OPSET = 18

Arrays = Mapping[str, np.ndarray]


def load(path: Path, flavor: Mapping[str, Any]) -> LoadedSource:
    """Load what `mlflow.tensorflow` stored."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    import mlflow.pyfunc
    import tensorflow as tf

    # Keras draws a progress bar for every predict, which is what MLflow's pyfunc calls.
    tf.keras.utils.disable_interactive_logging()
    pyfunc = mlflow.pyfunc.load_model(str(path))
    return LoadedSource(pyfunc.get_raw_model(), pyfunc, path, flavor)


def reference_outputs(source: LoadedSource, inputs: Inputs) -> dict[str, np.ndarray]:
    """Every output by name, of shape (rows, ...)."""
    import tensorflow as tf

    call = _call(source)
    tensors = {name: tf.constant(array) for name, array in _arrays(source, inputs).items()}
    return {name: tensor.numpy() for name, tensor in call(tensors).items()}


def strategies(source: LoadedSource, example: Inputs) -> list[Strategy]:
    """tf2onnx on a function; Keras's own exporter after it, where the model is Keras's."""
    found = [
        Strategy(
            "from_function",
            "tf2onnx on a function with a signature, which works for reloaded models too",
            lambda path: _export_function(source, example, path),
            "tf2onnx",
        )
    ]
    if _is_keras(source.native):
        found.append(
            Strategy(
                "keras_export",
                "Keras's own exporter",
                lambda path: _export_keras(source, example, path),
                "keras",
            )
        )
    return found


def _export_function(source: LoadedSource, example: Inputs, path: Path) -> Export:
    import tensorflow as tf
    import tf2onnx

    arrays = _arrays(source, example)
    call = _call(source)
    outputs = tuple(reference_outputs(source, example))
    # Positions carry the names: what a graph calls its inputs must be an identifier.
    specs = [
        tf.TensorSpec([None, *array.shape[1:]], array.dtype, name=f"input_{number}")
        for number, array in enumerate(arrays.values())
    ]

    @tf.function(input_signature=specs)
    def function(*tensors: Any) -> list[Any]:
        answers = call(dict(zip(arrays, tensors, strict=True)))
        return [tf.identity(answers[name]) for name in outputs]

    model, _ = tf2onnx.convert.from_function(function, input_signature=specs, opset=OPSET)
    _fix_captured(model, function.get_concrete_function().graph.captures)
    return _saved(model, source, example, outputs, path)


def _fix_captured(model: Any, captures: Any) -> None:
    """Make weights of the tensors that the function captured (a Normalization layer's mean, say).

    tf2onnx folds variables, but leaves captured tensors as inputs of the graph.
    """
    from onnx import numpy_helper

    value_of = {inner.name: outer for outer, inner in captures if outer.dtype.name != "resource"}
    captured = [each for each in model.graph.input if each.name in value_of]
    for each in captured:
        array = value_of[each.name].numpy()
        model.graph.initializer.append(numpy_helper.from_array(array, each.name))
        model.graph.input.remove(each)


def _export_keras(source: LoadedSource, example: Inputs, path: Path) -> Export:
    import onnx

    outputs = tuple(reference_outputs(source, example))
    raw = path.with_name("keras.onnx")
    source.native.export(str(raw), format="onnx", verbose=False)
    model = onnx.load(str(raw))
    raw.unlink()
    return _saved(model, source, example, outputs, path)


def _saved(
    model: Any, source: LoadedSource, example: Inputs, outputs: tuple[str, ...], path: Path
) -> Export:
    feeds = _feeds(source, example)
    names = save(
        model,
        path,
        dict(zip((each.name for each in model.graph.output), outputs, strict=True)),
        dict(
            zip(
                (each.name for each in model.graph.input),
                (feed.name for feed in feeds),
                strict=True,
            )
        ),
    )
    return Export(feeds=feeds, outputs=names, prediction=names)


def _call(source: LoadedSource) -> Callable[[Mapping[str, Any]], dict[str, Any]]:
    """The model as a function from named tensors to named tensors."""
    model = source.native
    if _is_keras(model):
        return lambda tensors: _named(model(_positional(tensors), training=False), model)
    if _takes_columns(source):
        key = source.flavor.get("signature_def_key") or "serving_default"
        infer = model.signatures[key]
        return lambda tensors: dict(infer(**tensors))
    return lambda tensors: _named(model(_positional(tensors)), model)


def _positional(tensors: Mapping[str, Any]) -> Any:
    """One tensor alone as it is; several by name, as Keras takes them."""
    return next(iter(tensors.values())) if len(tensors) == 1 else dict(tensors)


def _named(answer: Any, model: Any) -> dict[str, Any]:
    if isinstance(answer, Mapping):
        return {str(name): tensor for name, tensor in answer.items()}
    if isinstance(answer, list | tuple):
        names = getattr(model, "output_names", None) or [f"output_{n}" for n in range(len(answer))]
        return dict(zip(names, answer, strict=True))
    return {OUTPUT: answer}


def _arrays(source: LoadedSource, inputs: Inputs) -> dict[str, np.ndarray]:
    """The inputs by name; a frame is one matrix, or one array per column for a SavedModel."""
    data = inputs.data
    if isinstance(data, np.ndarray):
        return {MATRIX: data}
    if isinstance(data, dict):
        return dict(data)
    if _takes_columns(source):
        return {str(name): data[name].to_numpy() for name in data.columns}
    return {MATRIX: data.to_numpy()}


def _feeds(source: LoadedSource, inputs: Inputs) -> tuple[FeedSpec, ...]:
    arrays = _arrays(source, inputs)
    if isinstance(inputs.data, pd.DataFrame) and not _takes_columns(source):
        columns = tuple(map(str, inputs.data.columns))
        dtype = str(arrays[MATRIX].dtype)
        return (FeedSpec(name=MATRIX, layout="matrix", dtype=dtype, columns=columns),)
    return tuple(
        FeedSpec(name=name, layout="tensor", dtype=str(array.dtype), key=name)
        for name, array in arrays.items()
    )


def _takes_columns(source: LoadedSource) -> bool:
    """Whether MLflow serves a SavedModel's signature; it calls a tf.Module as a function."""
    if source.flavor.get("model_type") == "tf2-module":
        return False
    return not _is_keras(source.native) and bool(getattr(source.native, "signatures", None))


def _is_keras(model: Any) -> bool:
    import keras

    return isinstance(model, keras.Model)
