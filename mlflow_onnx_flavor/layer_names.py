"""The source's own names for the layers that nodes of a graph were made from.

PyTorch's exporter writes them into the metadata of nodes; for Keras `name_layers` does.
"""

from __future__ import annotations

import ast
from collections.abc import Mapping, Sequence
from typing import Any

# Of a node: the layer, such as "encoder/proj"; and whether its first output is that layer's answer.
_LAYER = "mlflow_onnx_flavor.layer"
_ANSWERS = "mlflow_onnx_flavor.answer_of"
_SCOPES_OF_PYTORCH = "pkg.torch.onnx.name_scopes"


def layer_of(node: Any) -> str:
    """The layer that a node was made from; "" where nothing says it.

    Without metadata, the node's name: tf2onnx keeps TensorFlow's scopes there, which are the names
    of layers but for a number behind.
    """
    found = scopes_of(node)
    return found[-1] if found else node.name.rpartition("/")[0]


def scopes_of(node: Any) -> list[str]:
    """The qualified names of the layers that a node belongs to, the innermost last."""
    metadata = _metadata(node)
    if layer := metadata.get(_LAYER):
        parts = layer.split("/")
        return ["/".join(parts[: at + 1]) for at in range(len(parts))]
    scopes = ast.literal_eval(metadata.get(_SCOPES_OF_PYTORCH, "[]"))
    return [name for name in scopes[:-1] if name]


def answers_of_layers(graph: Any) -> dict[str, str]:
    """The value that should be the answer of each layer: what was written down where the file was
    made, else what the last node of the layer gives.
    """
    written = {
        layer: node.output[0] for node in graph.node if (layer := _metadata(node).get(_ANSWERS))
    }
    if written:
        return written
    return {layer: node.output[0] for node in graph.node for layer in scopes_of(node)}


def name_layers(graph: Any, layer_by_scope: Mapping[str, str]) -> None:
    """Write into each node the layer whose scope its name begins with; one without a scope belongs
    where what it is given comes from.

    ``layer_by_scope``: such as {"model_1/encoder_1/proj_1": "encoder/proj"}.
    """
    of_value: dict[str, str] = {}
    for node in graph.node:
        layer = _longest(node.name, layer_by_scope) or next(
            (of_value[name] for name in node.input if of_value.get(name)), ""
        )
        if layer:
            _add(node, _LAYER, layer)
        of_value |= dict.fromkeys(node.output, layer)


def name_answers(graph: Any, layer_by_value: Mapping[str, str]) -> None:
    """Write into each node whose first output is a layer's answer which layer that is."""
    for node in graph.node:
        if node.output[0] in layer_by_value:
            _add(node, _ANSWERS, layer_by_value[node.output[0]])


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
