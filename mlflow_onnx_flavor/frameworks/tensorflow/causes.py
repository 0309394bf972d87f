"""One-line causes of failed TensorFlow exports, with the layer that is in the way."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from typing import Any

import onnx

from mlflow_onnx_flavor.errors import NotExportableError
from mlflow_onnx_flavor.onnx_graph.exporter_text import plain

_OPEN_AXES = (
    "an axis that the signature gives as -1 is not known while the graph is made; log the model"
    " with the sizes that it is served at in its signature"
)


def cause_of(error: BaseException, open_axes: bool = False) -> str:
    """Return the cause in one line.

    ``open_axes`` says whether more axes than the batch were to be dynamic in the graph.
    """
    text = plain(str(error))
    if type(error).__name__ == "OperatorNotAllowedInGraphError" and open_axes:
        return f"{_called(text)} asks for a size in Python, and {_OPEN_AXES}"
    if type(error).__name__ == "OperatorNotAllowedInGraphError":
        return (
            f"{_called(text)} asks for the value of a tensor in Python, which MLflow's predict"
            " cannot do either; write it with tf.cond or tf.where"
        )
    if "Could not find matching concrete function" in text:
        return (
            "the SavedModel holds its function for the shapes that it was called with only; give"
            " the tf.function an input_signature whose first axis is None and save it again"
        )
    if "'_UserObject' object is not callable" in text:
        return (
            "the tf.Module has signatures but no __call__, which MLflow's predict calls; give it"
            " one, a tf.function with an input_signature, and log it again"
        )
    lines = (line.strip() for line in text.splitlines())
    said = next((line for line in lines if _tells(line)), "")
    cause = f"{type(error).__name__}: {said}" if said else type(error).__name__
    return f"{cause}; {_OPEN_AXES}" if open_axes else cause


def refuse_unknown_operators(model: Any, layers: Collection[str]) -> None:
    """Raise NotExportableError naming each operator that tf2onnx left as TensorFlow's.

    tf2onnx silently keeps an operator for which it knows no ONNX form.  ``layers`` are the names of
    a Keras model's layers.
    """
    domains = {each.domain: each.version for each in model.opset_import}
    unknown = {
        node.op_type: _layer(node.name, layers)
        for node in _nodes(model.graph)
        if node.domain in ("", "ai.onnx", "ai.onnx.ml")
        and not onnx.defs.has(node.op_type, domains.get(node.domain, 1), node.domain)
    }
    if unknown:
        named = ", ".join(
            f"{operator} (in {layer})" if layer else operator for operator, layer in unknown.items()
        )
        raise NotExportableError(
            f"there is no ONNX form of {named}; compute it before the model, or replace the layer"
        )


def _called(text: str) -> str:
    found = re.search(r"Exception encountered when calling (\w[\w.]*)", text)
    return found.group(1) if found else "the model"


def _tells(line: str) -> bool:
    """Return whether a line is part of the message, and not a place in the code."""
    return bool(line) and line != "in user code:" and not line.startswith(("File ", "Arguments "))


def _layer(node: str, layers: Collection[str]) -> str:
    """Return the layer in a node's path, such as 'hashing' for "sequential_1/hashing_1/Add".

    Keras appends new numbers to the parts of the path.  If no part is a layer, the path itself is
    returned.
    """
    parts = node.split("/")[:-1]
    for part in parts:
        for name in (part, re.sub(r"_\d+$", "", part)):
            if name in layers:
                return repr(name)
    return repr("/".join(parts)) if parts else ""


def _nodes(graph: Any) -> Iterator[Any]:
    for node in graph.node:
        yield node
        for attribute in node.attribute:
            for inner in (attribute.g, *attribute.graphs):
                yield from _nodes(inner)
