"""The structure of an ONNX file without its weights: names, types and shapes at any size.

`onnx.load` reads every byte of a file that holds its own weights.  Here the file is mapped and the
values of its initializers are skipped, so that memory stays that of the graph.  Field numbers are
those of onnx.proto; the encoding is protobuf's (length-delimited fields within fields).
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from mlflow_onnx_flavor.errors import CorruptModelError

if TYPE_CHECKING:
    import onnx

_MODEL_GRAPH = 7
_GRAPH_INITIALIZER = 5
# float_data, int32_data, string_data, int64_data, raw_data, double_data, uint64_data
_TENSOR_VALUES = frozenset({4, 5, 6, 7, 9, 10, 11})

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5


def read_structure(file: Path) -> onnx.ModelProto:
    """Return the model in ``file`` without the values of its graph's initializers.

    Raises CorruptModelError if the file is missing or not ONNX.
    """
    from google.protobuf.message import DecodeError

    try:
        with file.open("rb") as opened, mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ) as m:
            model = _model(m)
    except (OSError, ValueError, DecodeError) as error:
        raise CorruptModelError(f"{str(file)!r} is not a readable ONNX file: {error}") from error
    if not model.graph.output:
        raise CorruptModelError(f"{str(file)!r} is not a readable ONNX file: it holds no graph")
    if not all(isinstance(name, str) for name in _names(model.graph)):  # protobuf lets bytes pass
        raise CorruptModelError(f"{str(file)!r} is not a readable ONNX file: a name is no text")
    return model


def _names(graph: onnx.GraphProto) -> Iterator[str]:
    """Yield the names of the graph's inputs, outputs and nodes."""
    for value in (*graph.input, *graph.output, *graph.initializer):
        yield value.name
    for node in graph.node:
        yield from (node.op_type, node.domain, node.name, *node.input, *node.output)


def _model(content: mmap.mmap) -> onnx.ModelProto:
    import onnx

    model = onnx.ModelProto()
    for number, field, begin, end in _fields(content, 0, len(content)):
        if number == _MODEL_GRAPH:
            _merge_graph(model.graph, content, begin, end)
        else:
            model.MergeFromString(content[field:end])
    return model


def _merge_graph(graph: onnx.GraphProto, content: mmap.mmap, begin: int, end: int) -> None:
    for number, field, tensor_begin, field_end in _fields(content, begin, end):
        if number != _GRAPH_INITIALIZER:
            graph.MergeFromString(content[field:field_end])
            continue
        tensor = graph.initializer.add()
        for part, part_field, _, part_end in _fields(content, tensor_begin, field_end):
            if part not in _TENSOR_VALUES:
                tensor.MergeFromString(content[part_field:part_end])


def _fields(content: mmap.mmap, begin: int, end: int) -> Iterator[tuple[int, int, int, int]]:
    """Yield each field of the message in ``content[begin:end]``.

    The tuple holds its number, where the field begins, where its value begins, and where both end.
    """
    position = begin
    while position < end:
        field = position
        tag, position = _varint(content, position, end)
        kind = tag & 7
        if kind == _VARINT:
            value, position = position, _varint(content, position, end)[1]
        elif kind == _BYTES:
            length, position = _varint(content, position, end)
            value, position = position, position + length
        elif kind in (_FIXED32, _FIXED64):
            value, position = position, position + (4 if kind == _FIXED32 else 8)
        else:
            raise ValueError(f"wire type {kind} at byte {field}")
        if position > end or tag >> 3 == 0:
            raise ValueError(f"a field at byte {field} is cut off or has no number")
        yield tag >> 3, field, value, position


def _varint(content: mmap.mmap, position: int, end: int) -> tuple[int, int]:
    """Return the variable-length integer at ``position`` (seven bits a byte), and its end."""
    value = 0
    for shift in range(0, 70, 7):
        if position >= end:
            break
        byte = content[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
    raise ValueError(f"an integer at byte {position} is cut off")
