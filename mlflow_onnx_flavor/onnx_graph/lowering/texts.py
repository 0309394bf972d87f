"""Labels as positions: texts that are answers become positions in a table beside the model.

A graph without strings can still answer with a class: `labels` maps each position to its text.
Text that is an intermediate value (a column of strings that is encoded) has no such form.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from mlflow_onnx_flavor.errors import UnsupportedModelError

if TYPE_CHECKING:
    import onnx

_STRING = 8  # onnx.TensorProto.STRING
# Operators that only move the elements of their first input.
_MOVES = frozenset(
    {"Identity", "Reshape", "Squeeze", "Unsqueeze", "Flatten", "Transpose", "Expand"}
)


def positions_for_texts(
    model: onnx.ModelProto, labels: Mapping[str, list[str]]
) -> dict[str, list[str]]:
    """Rewrite look-ups in tables of text to the positions that are looked up, in place.

    ``labels``: values that hold positions already.  Returns all of them.  Raises
    UnsupportedModelError for other text, naming the input or the operator.
    """
    graph, known = model.graph, dict(labels)
    tables = {
        each.name: [text.decode() for text in each.string_data]
        for each in graph.initializer
        if each.data_type == _STRING and len(each.dims) == 1
    }
    for node in graph.node:
        if node.op_type == "Gather" and node.input[0] in tables:
            known[node.output[0]] = tables[node.input[0]]
            _become(node, "Identity", [node.input[1]])
        elif node.op_type == "Cast" and _casts_to_text(node) and node.input[0] in known:
            known[node.output[0]] = known[node.input[0]]
            _become(node, "Identity", [node.input[0]])
        elif node.op_type in _MOVES and node.input[0] in known:
            known[node.output[0]] = known[node.input[0]]
        else:
            _check(node, known)
    _drop_unused(graph)
    _check_text(graph)
    return known


def _become(node: onnx.NodeProto, op_type: str, inputs: list[str]) -> None:
    node.op_type = op_type
    del node.input[:], node.attribute[:]
    node.input.extend(inputs)


def _casts_to_text(node: onnx.NodeProto) -> bool:
    return any(each.name == "to" and each.i == _STRING for each in node.attribute)


def _check(node: onnx.NodeProto, known: Mapping[str, list[str]]) -> None:
    if _casts_to_text(node) and node.op_type == "Cast":
        raise UnsupportedModelError(
            f"the operator Cast (node {node.name!r}) makes text of numbers, which runs in ONNX"
            " Runtime alone"
        )
    for name in node.input:
        if name in known:
            raise UnsupportedModelError(
                f"the operator {node.op_type} (node {node.name!r}) works on the text {name!r},"
                " which runs in ONNX Runtime alone"
            )


def _drop_unused(graph: onnx.GraphProto) -> None:
    used = {name for node in graph.node for name in node.input}
    used |= {each.name for each in graph.output}
    for each in [each for each in graph.initializer if each.data_type == _STRING]:
        if each.name not in used:
            graph.initializer.remove(each)


def _check_text(graph: onnx.GraphProto) -> None:
    for value in graph.input:
        if value.type.tensor_type.elem_type == _STRING:
            raise UnsupportedModelError(
                f"the input {value.name!r} is text, which runs in ONNX Runtime alone; encode it"
                " before the model, or leave it out"
            )
    for tensor in graph.initializer:
        if tensor.data_type == _STRING:
            node = next(each for each in graph.node if tensor.name in each.input)
            raise UnsupportedModelError(
                f"the operator {node.op_type} (node {node.name!r}) works on text, which runs in"
                " ONNX Runtime alone"
            )
