"""The source's own names for the layers that nodes of a graph were made from.

PyTorch's exporter writes them into the metadata of nodes; for Keras `name_layers` does.
"""

from __future__ import annotations

import ast
from collections.abc import Mapping, Sequence
from typing import Any

# Metadata keys of a node: its layer, such as "encoder/proj", and the layer whose answer its first
# output is.
_LAYER = "mlflow_onnx_flavor.layer"
_ANSWERS = "mlflow_onnx_flavor.answer_of"
_SCOPES_OF_PYTORCH = "pkg.torch.onnx.name_scopes"


def layer_of(node: Any) -> str:
    """Return the layer that a node was made from; "" if it is unknown.

    Without metadata it is the node's name: tf2onnx keeps TensorFlow's scopes there, which are the
    names of layers except for a number at the end.
    """
    found = scopes_of(node)
    return found[-1] if found else node.name.rpartition("/")[0]


def scopes_of(node: Any) -> list[str]:
    """Return the qualified names of the layers that a node belongs to, the innermost last."""
    metadata = _metadata(node)
    if layer := metadata.get(_LAYER):
        parts = layer.split("/")
        return ["/".join(parts[: at + 1]) for at in range(len(parts))]
    scopes = ast.literal_eval(metadata.get(_SCOPES_OF_PYTORCH, "[]"))
    return [name for name in scopes[:-1] if name]


def answers_of_layers(graph: Any) -> dict[str, str]:
    """Return the value that is the answer of each layer.

    `name_answers` recorded it when the file was made; for PyTorch's layers it is the output of the
    last node of each.
    """
    metadata = [_metadata(node) for node in graph.node]
    if any(_LAYER in each for each in metadata):
        return {
            each[_ANSWERS]: node.output[0]
            for node, each in zip(graph.node, metadata, strict=True)
            if _ANSWERS in each
        }
    return {layer: node.output[0] for node in graph.node for layer in scopes_of(node)}


def name_layers(graph: Any, layer_by_scope: Mapping[str, str]) -> dict[str, str]:
    """Write into each node the layer whose scope its name begins with; return each value's layer.

    A node without a scope belongs to the layer that its inputs come from.  ``layer_by_scope``: such
    as {"model_1/encoder_1/proj_1": "encoder/proj"}.
    """
    of_value: dict[str, str] = {}
    for node in graph.node:
        layer = _longest(node.name, layer_by_scope) or next(
            (of_value[name] for name in node.input if name in of_value), ""
        )
        if layer:
            _add(node, _LAYER, layer)
            of_value |= dict.fromkeys(node.output, layer)
    return of_value


def name_answers(graph: Any, answer_by_value: Mapping[str, str]) -> None:
    """Write the name of a layer's answer into each node whose first output is that answer.

    It is the name that the source's framework gives to the answer.
    """
    for node in graph.node:
        if node.output[0] in answer_by_value:
            _add(node, _ANSWERS, answer_by_value[node.output[0]])


def _longest(name: str, layer_by_scope: Mapping[str, str]) -> str:
    parts: Sequence[str] = name.split("/")
    for length in range(len(parts) - 1, 0, -1):
        if (scope := "/".join(parts[:length])) in layer_by_scope:
            return layer_by_scope[scope]
    return ""


def _metadata(node: Any) -> dict[str, str]:
    return {each.key: each.value for each in node.metadata_props}


def _add(node: Any, key: str, value: str) -> None:
    entry = node.metadata_props.add()
    entry.key, entry.value = key, value
