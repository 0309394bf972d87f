"""Small ONNX graphs, built by hand, for what a converted model would hide."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper


def save(nodes, inputs, outputs, path: Path, weights=(), **how) -> Path:
    """A graph of ``nodes`` as an ``.onnx`` file."""
    graph = helper.make_graph(nodes, "graph", inputs, outputs, list(weights))
    opsets = [helper.make_opsetid("", 18)]
    onnx.save_model(helper.make_model(graph, opset_imports=opsets, ir_version=10), str(path), **how)
    return path


def tensor(name: str, shape, kind=TensorProto.FLOAT):
    return helper.make_tensor_value_info(name, kind, shape)


def doubling(path: Path, columns: int = 2) -> Path:
    """Y = x + x, shape (rows, columns)."""
    shape = ["rows", columns]
    return save(
        [helper.make_node("Add", ["x", "x"], ["y"])],
        [tensor("x", shape)],
        [tensor("y", shape)],
        path,
    )


def side_by_side(path: Path) -> Path:
    """Y = [a, b]: one input of shape (rows, 1) for each column."""
    return save(
        [helper.make_node("Concat", ["a", "b"], ["y"], axis=1)],
        [tensor("a", ["rows", 1]), tensor("b", ["rows", 1])],
        [tensor("y", ["rows", 2])],
        path,
    )


def repeated_text(path: Path) -> Path:
    """The text of input ``t``, shape (rows, 1), as it came."""
    return save(
        [helper.make_node("Identity", ["t"], ["text"])],
        [tensor("t", ["rows", 1], TensorProto.STRING)],
        [tensor("text", ["rows", 1], TensorProto.STRING)],
        path,
    )


def adding_weights(path: Path, columns: int = 4096, **how) -> Path:
    """Y = x + w with w = 0, 1, 2, ...; ``how``: as `onnx.save_model` takes it."""
    weights = np.arange(columns, dtype=np.float32).reshape(1, columns)
    return save(
        [helper.make_node("Add", ["x", "w"], ["y"])],
        [tensor("x", ["rows", columns])],
        [tensor("y", ["rows", columns])],
        path,
        [numpy_helper.from_array(weights, "w")],
        **how,
    )


def huge(path: Path, weights_bytes: int) -> Path:
    """Y = x + w with ``weights_bytes`` of zeros within the file, which takes no room on the disk.

    By hand, since `onnx.save_model` takes the weights from memory: the weights are the last field
    of the last field of the last field.
    """
    columns = weights_bytes // 4
    graph = helper.make_graph(
        [helper.make_node("Add", ["x", "w"], ["y"])],
        "graph",
        [tensor("x", ["rows", columns])],
        [tensor("y", ["rows", columns])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    model.ClearField("graph")
    weights = onnx.TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[1, columns])
    content, length = b"", weights_bytes
    for number, message in ((9, weights), (5, graph), (7, model)):
        content = message.SerializeToString() + bytes([number << 3 | 2]) + _varint(length) + content
        length = len(content) + weights_bytes
    path.write_bytes(content)
    os.truncate(path, length)
    return path


def _varint(value: int) -> bytes:
    groups = []
    while value >= 0x80:
        groups.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*groups, value])
