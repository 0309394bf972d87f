"""Export of TensorFlow functions and Keras models to ONNX, with tf2onnx and with Keras."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import tensorflow as tf
import tf2onnx
from onnx import helper, numpy_helper
from onnx.external_data_helper import ExternalDataInfo, set_external_data, uses_external_data

from mlflow_onnx_flavor.errors import NotExportableError
from mlflow_onnx_flavor.frameworks.base import Export
from mlflow_onnx_flavor.frameworks.signature_shapes import shape_in
from mlflow_onnx_flavor.frameworks.tensor_names import graph_inputs
from mlflow_onnx_flavor.frameworks.tensorflow.calls import Call
from mlflow_onnx_flavor.frameworks.tensorflow.causes import cause_of, refuse_unknown_operators
from mlflow_onnx_flavor.frameworks.tensorflow.compat import numpy_product, steps_as_rows
from mlflow_onnx_flavor.frameworks.tensorflow.layers import scopes_within, write_layers
from mlflow_onnx_flavor.frameworks.tensorflow.operators import handlers
from mlflow_onnx_flavor.onnx_graph.edit import save

OPSET = 18
ML_OPSET = 3
BATCH_AXIS = "batch"

# A protobuf message has at most 2 GiB; up to this size the weights stay within the ONNX file.
MAX_EMBEDDED_BYTES = 1_500_000_000


def export_function(native: Any, call: Call, path: Path, signature: Any = None) -> Export:
    """Export ``call`` with tf2onnx, as a function with a signature, and write the file to ``path``.

    The batch axis is dynamic, and so is every other axis of size -1 in ``signature``, MLflow's.
    ``native`` is the model; if it is a Keras model, nodes are named after its layers.  Raises
    NotExportableError with the cause.
    """
    with _explained():
        answers = call.answers()
    # Inputs are named by position: TensorFlow requires identifiers as names of inputs.
    specs = [
        tf.TensorSpec(
            _open_shape(array, shape_in(signature, name)), array.dtype, name=f"input_{number}"
        )
        for number, (name, array) in enumerate(call.arrays.items())
    ]

    @tf.function(input_signature=specs)
    def function(*tensors: Any) -> list[Any]:
        answered = call.function(dict(zip(call.arrays, tensors, strict=True)))
        return [tf.identity(answered[name]) for name in answers]

    open_axes = any(None in spec.shape[1:] for spec in specs)
    with _explained(open_axes), steps_as_rows(), scopes_within(native) as scopes:
        graph = function.get_concrete_function().graph
        captured = {inner.name: outer for outer, inner in graph.captures}
        large = _weight_bytes(graph) > MAX_EMBEDDED_BYTES
        with numpy_product():
            model, weights = tf2onnx.convert.from_function(
                function,
                input_signature=specs,
                opset=OPSET,
                extra_opset=[helper.make_opsetid("ai.onnx.ml", ML_OPSET)],
                custom_op_handlers=handlers(captured),
                large_model=large,
            )
    refuse_unknown_operators(model, call.layers)
    _fix_captured(model, captured)
    write_layers(native, call, model, scopes)
    if large:
        _write_weights(model, weights.name_to_tensor_data, path.with_name(f"{path.name}.data"))
    given = [f"input_{number}" for number in range(len(specs))]
    return _saved(model, path, call, answers, given)


def export_keras(model: Any, call: Call, path: Path) -> Export:
    """Export with Keras's own exporter, whose inputs have the names of the model's inputs."""
    raw = path.with_name("keras.onnx")
    with _explained():
        answers = call.answers()
    with _explained(), steps_as_rows(), scopes_within(model) as scopes:
        model.export(str(raw), format="onnx", verbose=False)
    exported = onnx.load(str(raw))
    raw.unlink()
    refuse_unknown_operators(exported, call.layers)
    write_layers(model, call, exported, scopes)
    found = [each.name for each in exported.graph.input]
    given = found if len(found) == 1 else list(call.arrays)
    return _saved(exported, path, call, answers, given)


def _open_shape(array: np.ndarray, declared: tuple[int, ...]) -> list[int | None]:
    """Return the array's shape, with None for its first axis and for axes declared as -1."""
    varies = [size == -1 for size in declared] if len(declared) == array.ndim else []
    varies = varies or [False] * array.ndim
    return [None if axis == 0 or varies[axis] else size for axis, size in enumerate(array.shape)]


def _saved(
    model: Any, path: Path, call: Call, answers: Mapping[str, np.ndarray], given: list[str]
) -> Export:
    """Write the graph with stable names; ``given`` are its inputs in the order of the arrays."""
    outputs = tuple(answers)
    found = {each.name for each in model.graph.input}
    if found != set(given):
        raise NotExportableError(
            f"the graph takes {sorted(found)} where the model takes {sorted(given)}"
        )
    for value, array in zip(model.graph.output, answers.values(), strict=True):
        _give_rank(value, array.ndim)
    for value in (*model.graph.input, *model.graph.output):
        _name_batch(value)
    for value in model.graph.input:
        _name_open_axes(value)
    inputs = graph_inputs(tuple(call.arrays), outputs)
    names = save(
        model,
        path,
        dict(zip((each.name for each in model.graph.output), outputs, strict=True)),
        dict(zip(given, inputs, strict=True)),
    )
    return Export(feeds=call.feeds(inputs), outputs=names, prediction=names)


def _give_rank(value: Any, ndim: int) -> None:
    """Add the axes of an output whose shape tf2onnx does not know: ONNX requires a shape."""
    if not value.type.tensor_type.HasField("shape"):
        for _ in range(ndim):
            value.type.tensor_type.shape.dim.add()


def _name_batch(value: Any) -> None:
    axes = value.type.tensor_type.shape.dim
    if axes and not axes[0].HasField("dim_value"):
        axes[0].dim_param = BATCH_AXIS


def _name_open_axes(value: Any) -> None:
    for axis, each in enumerate(value.type.tensor_type.shape.dim):
        if axis and not each.HasField("dim_value"):
            each.dim_param = f"{value.name}_axis_{axis}"


@contextmanager
def _explained(open_axes: bool = False) -> Iterator[None]:
    """Raise an exporter's error as NotExportableError, with a cause in one line instead of a page.

    ``open_axes`` says whether more axes than the batch were to be dynamic.
    """
    try:
        yield
    except Exception as error:  # exporters let through whatever a model's code raises
        raise NotExportableError(cause_of(error, open_axes)) from error


def _fix_captured(model: Any, captured: Mapping[str, Any]) -> None:
    """Turn captured tensors, such as a Normalization layer's mean, into weights of the graph.

    tf2onnx folds variables, but leaves captured tensors as inputs of the graph.  It also leaves the
    handles of lookup tables there, which no node reads; they are removed.
    """
    for each in [each for each in model.graph.input if each.name in captured]:
        tensor = captured[each.name]
        if tensor.dtype.name not in ("resource", "variant"):
            array = tensor.numpy()
            model.graph.initializer.append(numpy_helper.from_array(array, each.name))
        model.graph.input.remove(each)


def _weight_bytes(graph: Any) -> int:
    return sum(each.shape.num_elements() * each.dtype.size for each in graph.variables)


def _write_weights(model: Any, data: Mapping[str, bytes], path: Path) -> None:
    """Write the weights that tf2onnx kept apart into one file beside the graph.

    The graph then holds their offsets alone, so that protobuf's limit of 2 GiB does not apply.
    """
    with path.open("wb") as file:
        for tensor in model.graph.initializer:
            if uses_external_data(tensor):
                weight = data[ExternalDataInfo(tensor).location]
                # set_external_data requires raw_data to be set; the bytes go into the file below.
                tensor.raw_data = b""
                set_external_data(tensor, path.name, offset=file.tell(), length=len(weight))
                tensor.ClearField("raw_data")
                file.write(weight)
