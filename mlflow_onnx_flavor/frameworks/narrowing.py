"""Let a float64 graph compute in float32, between inputs and outputs that stay float64.

onnxruntime has no float64 kernels for convolutions, recurrent layers, pooling and others.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

_FLOAT, _DOUBLE = 1, 11  # onnx.TensorProto.DataType
_TYPE_ATTRIBUTES = ("to", "dtype")


def compute_in_float32(model: Any) -> None:
    """Change ``model`` (an onnx.ModelProto with its weights) in place."""
    from onnx import helper

    graph = model.graph
    taken, given = {}, {}
    for value in graph.input:
        if value.type.tensor_type.elem_type == _DOUBLE:
            taken[value.name] = f"{value.name}_float32"
    for value in graph.output:
        if value.type.tensor_type.elem_type == _DOUBLE:
            given[value.name] = f"{value.name}_float32"
    _narrow(graph)
    for function in model.functions:
        _narrow_nodes(function.node)
    _rename(graph.node, taken | given)
    for weights in graph.initializer:
        weights.name = given.get(weights.name, weights.name)
    entering = [
        helper.make_node("Cast", [name], [inner], name=f"{inner}_cast", to=_FLOAT)
        for name, inner in taken.items()
    ]
    leaving = [
        helper.make_node("Cast", [inner], [name], name=f"{inner}_cast", to=_DOUBLE)
        for name, inner in given.items()
    ]
    nodes = [*entering, *graph.node, *leaving]
    del graph.node[:]
    graph.node.extend(nodes)


def _narrow(graph: Any) -> None:
    from onnx import numpy_helper

    del graph.value_info[:]  # it names the old types
    for weights in graph.initializer:
        if weights.data_type == _DOUBLE:
            narrow = numpy_helper.to_array(weights).astype(np.float32)
            weights.CopyFrom(numpy_helper.from_array(narrow, weights.name))
    _narrow_nodes(graph.node)


def _narrow_nodes(nodes: Iterable[Any]) -> None:
    from onnx import numpy_helper

    for node in nodes:
        for attribute in node.attribute:
            if attribute.name in _TYPE_ATTRIBUTES and attribute.i == _DOUBLE:
                attribute.i = _FLOAT
            if attribute.t.data_type == _DOUBLE:
                narrow = numpy_helper.to_array(attribute.t).astype(np.float32)
                attribute.t.CopyFrom(numpy_helper.from_array(narrow, attribute.t.name))
            for inner in [*([attribute.g] if attribute.HasField("g") else []), *attribute.graphs]:
                _narrow(inner)
                for value in (*inner.input, *inner.output):
                    if value.type.tensor_type.elem_type == _DOUBLE:
                        value.type.tensor_type.elem_type = _FLOAT


def _rename(nodes: Iterable[Any], names: dict[str, str]) -> None:
    for node in nodes:
        for values in (node.input, node.output):
            for position, name in enumerate(values):
                values[position] = names.get(name, name)
        for attribute in node.attribute:
            for inner in [*([attribute.g] if attribute.HasField("g") else []), *attribute.graphs]:
                _rename(inner.node, names)
