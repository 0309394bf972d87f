"""Conversion of a graph's arithmetic from float64 or bfloat16 to float32.

onnxruntime has no float64 kernels for convolutions, recurrent layers, pooling and others, and
hardly any for bfloat16, every number of which is exact in float32.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Any

_FLOAT, _DOUBLE, _BFLOAT16 = 1, 11, 16  # onnx.TensorProto.DataType
_TYPES = {"float64": _DOUBLE, "bfloat16": _BFLOAT16}
_TYPE_ATTRIBUTES = ("to", "dtype")


def compute_in_float32(path: Path, dtypes: Collection[str], most_embedded_bytes: int) -> None:
    """Change the file in ``path``: values of ``dtypes`` ("float64", "bfloat16") become float32.

    Inputs and outputs in float64 stay so; those in bfloat16, which numpy lacks, become float32 too.
    Weights of more than ``most_embedded_bytes`` are then in ``{path.name}.data``.
    """
    import onnx

    model = onnx.load(str(path))
    narrow(model, {_TYPES[name] for name in dtypes})
    path.with_name(f"{path.name}.data").unlink(missing_ok=True)
    apart = sum(len(each.raw_data) for each in model.graph.initializer) > most_embedded_bytes
    location = f"{path.name}.data" if apart else None
    onnx.save_model(model, str(path), save_as_external_data=apart, location=location)


def narrow(model: Any, types: Collection[int] = (_DOUBLE, _BFLOAT16)) -> None:
    """Change an onnx.ModelProto that holds its weights in place, as `compute_in_float32` does."""
    from onnx import helper

    graph = model.graph
    for value in (*graph.input, *graph.output):
        if value.type.tensor_type.elem_type == _BFLOAT16 in types:
            value.type.tensor_type.elem_type = _FLOAT
    taken, given = {}, {}
    for value in graph.input:
        if value.type.tensor_type.elem_type == _DOUBLE in types:
            taken[value.name] = f"{value.name}_float32"
    for value in graph.output:
        if value.type.tensor_type.elem_type == _DOUBLE in types:
            given[value.name] = f"{value.name}_float32"
    _narrow(graph, types)
    for function in model.functions:
        _narrow_nodes(function.node, types)
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


def _narrow(graph: Any, types: Collection[int]) -> None:
    del graph.value_info[:]  # it names the old types
    for weights in graph.initializer:
        _narrow_tensor(weights, types)
    _narrow_nodes(graph.node, types)


def _narrow_nodes(nodes: Iterable[Any], types: Collection[int]) -> None:
    for node in nodes:
        for attribute in node.attribute:
            if attribute.name in _TYPE_ATTRIBUTES and attribute.i in types:
                attribute.i = _FLOAT
            _narrow_tensor(attribute.t, types)
            for inner in [*([attribute.g] if attribute.HasField("g") else []), *attribute.graphs]:
                _narrow(inner, types)
                for value in (*inner.input, *inner.output):
                    if value.type.tensor_type.elem_type in types:
                        value.type.tensor_type.elem_type = _FLOAT


def _narrow_tensor(tensor: Any, types: Collection[int]) -> None:
    from onnx import numpy_helper

    if tensor.data_type in types:
        content = numpy_helper.to_array(tensor).astype("<f4").tobytes()
        for field in ("raw_data", "double_data", "int32_data"):
            tensor.ClearField(field)
        tensor.data_type, tensor.raw_data = _FLOAT, content


def _rename(nodes: Iterable[Any], names: dict[str, str]) -> None:
    for node in nodes:
        for values in (node.input, node.output):
            for position, name in enumerate(values):
                values[position] = names.get(name, name)
        for attribute in node.attribute:
            for inner in [*([attribute.g] if attribute.HasField("g") else []), *attribute.graphs]:
                _rename(inner.node, names)
