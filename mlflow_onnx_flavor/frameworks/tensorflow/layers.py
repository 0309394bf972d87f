"""The layers inside a Keras model, by nested names such as "encoder/proj"."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import tensorflow as tf

from mlflow_onnx_flavor.frameworks.tensorflow.calls import Call, is_keras
from mlflow_onnx_flavor.frameworks.tensorflow.compat import called_through, layers_of
from mlflow_onnx_flavor.onnx_graph.layer_names import name_answers, name_layers
from mlflow_onnx_flavor.scoring.runtimes import CPU

log = logging.getLogger(__name__)

# The largest difference, relative to the layer's largest output on the few rows of an example, at
# which a value of the graph still counts as the layer's output.
_SAME = 1e-4
# The largest graph that is run once more to find the values that are outputs of layers.
_MOST_BYTES = 500_000_000

# The number of values that one run returns, which limits the memory.
_AT_ONCE = 32

# A layer that is called more often, such as the cell of a recurrent layer, is left out.
_MOST_CALLS = 8
_AGAIN = " (call "

See = Callable[[str, Any], None]


def answers_within(model: Any, call: Call) -> dict[str, np.ndarray]:
    """Return the outputs of the layers on the arrays of ``call``, by nested names.

    Only layers that return a single tensor are included.  A name is like "encoder/proj", or
    "encoder/proj (call 2)" for the second call of the layer.
    """
    found: dict[str, list[Any]] = {}

    def see(path: str, answer: Any) -> None:
        answers = found.setdefault(path, [])
        if len(answers) <= _MOST_CALLS:
            answers.append(np.asarray(answer) if isinstance(answer, tf.Tensor) else None)

    with _seeing(model, see):
        call.answers()
    return {
        path if number == 1 else f"{path}{_AGAIN}{number})": answer
        for path, answers in found.items()
        if len(answers) <= _MOST_CALLS
        for number, answer in enumerate(answers, 1)
        if answer is not None
    }


@contextmanager
def scopes_within(model: Any) -> Iterator[dict[str, str]]:
    """Yield a dictionary from TensorFlow's name scopes to layers, filled in during tracing."""
    found: dict[str, str] = {}

    def see(path: str, _answer: Any) -> None:
        if scope := tf.get_current_name_scope():
            found[scope] = path

    with _seeing(model, see):
        yield found


def write_layers(model: Any, call: Call, exported: Any, scopes: Mapping[str, str]) -> None:
    """Write the names of layers into ``exported``, for nodes and for values that are outputs.

    An exporter folds and moves nodes, so the values that are outputs of layers are found by
    comparing numbers on the arrays of ``call``.
    """
    layer_of_value = name_layers(exported.graph, scopes)
    if exported.ByteSize() > _MOST_BYTES or not layer_of_value:
        return
    try:
        answers = answers_within(model, call)
        name_answers(exported.graph, _found(exported, call, layer_of_value, answers))
    except Exception:  # names only help: a file without them is just as correct
        log.info("the answers of layers are not found in the graph", exc_info=True)


def _found(
    exported: Any, call: Call, layer_of_value: Mapping[str, str], answers: Mapping[str, np.ndarray]
) -> dict[str, str]:
    """Return the layer output that each value equals; the last value counts if several do."""
    names = [node.output[0] for node in exported.graph.node if node.output[0] in layer_of_value]
    by_layer: dict[str, list[str]] = {}
    for name in answers:
        by_layer.setdefault(name.partition(_AGAIN)[0], []).append(name)
    value_of: dict[str, str] = {}
    for value, array in _values(exported, call, names):
        for name in by_layer.get(layer_of_value[value], ()):
            if _same(answers[name], array):
                value_of[name] = value
    return {value: name for name, value in value_of.items()}


def _values(exported: Any, call: Call, names: list[str]) -> Iterator[tuple[str, Any]]:
    """Yield the values ``names`` of the graph on the arrays of ``call``, a few at a time."""
    exposed = onnx.ModelProto()
    exposed.CopyFrom(exported)
    already = {each.name for each in exposed.graph.output}
    exposed.graph.output.extend(
        onnx.ValueInfoProto(name=name) for name in names if name not in already
    )
    with tempfile.TemporaryDirectory(prefix="mlflow-onnx-layers-") as folder:
        file = Path(folder) / "exposed.onnx"
        onnx.save(exposed, str(file))
        session = ort.InferenceSession(str(file), providers=[CPU])
    given = [each.name for each in session.get_inputs()]
    feeds = dict(zip(given, call.arrays.values(), strict=True))
    for start in range(0, len(names), _AT_ONCE):
        some = names[start : start + _AT_ONCE]
        yield from zip(some, session.run(some, feeds), strict=True)


def _same(layer: np.ndarray, value: Any) -> bool:
    value = np.asarray(value)
    if layer.shape != value.shape or layer.dtype.kind != "f":
        return layer.shape == value.shape and np.array_equal(layer, value)
    scale = float(np.abs(layer).max(initial=0.0)) or 1.0
    return bool(np.abs(layer - value).max(initial=0.0) <= _SAME * scale)


@contextmanager
def _seeing(model: Any, see: See) -> Iterator[None]:
    """Call ``see`` with the path and output of each layer in ``model``, within the context."""
    with ExitStack() as stack:
        for path, layer in _layers(model) if is_keras(model) else ():
            stack.enter_context(_told(layer, path, see))
        yield


@contextmanager
def _told(layer: Any, path: str, see: See) -> Iterator[None]:
    inner = layer.call

    def call(*args: Any, **kwargs: Any) -> Any:
        answer = inner(*args, **kwargs)
        see(path, answer)
        return answer

    with called_through(layer, call):
        yield


def _layers(
    model: Any, before: str = "", known: set[int] | None = None
) -> Iterator[tuple[str, Any]]:
    """Yield every inner layer with its path; a shared layer has the first of its paths."""
    known = set() if known is None else known
    for layer in layers_of(model):
        if id(layer) not in known:
            known.add(id(layer))
            path = f"{before}{layer.name}"
            yield path, layer
            yield from _layers(layer, f"{path}/", known)
