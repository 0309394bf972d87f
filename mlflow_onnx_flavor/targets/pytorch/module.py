"""An ONNX graph as an `nn.Module`: its nodes in order, each by the rule of its operator.

Sizes are computed beside the tensors: the results of `Shape` and whole-number constants are numpy
arrays of integers (symbolic ones while a program is exported), so that shapes stay exact and no
axis is fixed by the example.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import torch
from onnx import helper, numpy_helper
from torch import nn

from mlflow_onnx_flavor.errors import UnsupportedModelError
from mlflow_onnx_flavor.targets.pytorch.node import Node
from mlflow_onnx_flavor.targets.pytorch.operators import on_sizes, rule_of

# Whole-number constants up to this many elements may be shapes, axes or positions.
_MOST_SIZES = 64


class GraphModule(nn.Module):
    """A module that runs ``model`` and returns its one output, or a tuple of them.

    ``inputs`` and ``outputs``: their names, in order.
    """

    def __init__(self, model: onnx.ModelProto):
        super().__init__()
        graph = model.graph
        _check(model)
        opset = next(each.version for each in model.opset_import if each.domain in ("", "ai.onnx"))
        self._constants: dict[str, np.ndarray] = {}
        self._buffers_of: dict[str, str] = {}
        for tensor in graph.initializer:
            self._add_constant(tensor.name, numpy_helper.to_array(tensor))
        self.nodes: list[Node] = []
        for node in graph.node:
            if node.op_type == "Constant":
                self._add_constant(node.output[0], _constant(node))
            else:
                self.nodes.append(Node.read(node, opset))
        self.inputs = [each.name for each in graph.input if each.name not in self._buffers_of]
        self.outputs = [each.name for each in graph.output]

    def _add_constant(self, name: str, array: np.ndarray) -> None:
        buffer = f"constant_{len(self._buffers_of)}"
        if array.dtype.kind in "OUS":
            raise UnsupportedModelError(
                f"the constant {name!r} is text, which runs in ONNX Runtime alone"
            )
        if array.dtype == np.int64 and array.size <= _MOST_SIZES and array.ndim <= 1:
            self._constants[name] = array
        self.register_buffer(buffer, torch.from_numpy(np.array(array, order="C")))
        self._buffers_of[name] = buffer

    def forward(self, *arguments: torch.Tensor) -> torch.Tensor | tuple[torch.Tensor, ...]:
        """Run the nodes in order on the inputs and return the output, or a tuple of several."""
        values: dict[str, Any] = dict(zip(self.inputs, arguments, strict=True))
        for node in self.nodes:
            answers = self._run(node, values)
            for name, answer in zip(node.outputs, answers, strict=False):
                values[name] = answer
        answers = tuple(self._tensor(name, values) for name in self.outputs)
        return answers[0] if len(answers) == 1 else answers

    def _run(self, node: Node, values: dict[str, Any]) -> tuple[Any, ...]:
        known = [self._sizes(name, values) for name in node.inputs]
        answer = on_sizes(node, known, [values.get(name) for name in node.inputs])
        if answer is not None:
            return (answer,)
        operands = [
            sizes if position in node.size_inputs else self._tensor(name, values)
            for position, (name, sizes) in enumerate(zip(node.inputs, known, strict=True))
        ]
        answer = rule_of(node.op_type)(node, *operands)
        return answer if isinstance(answer, tuple) else (answer,)

    def _sizes(self, name: str, values: dict[str, Any]) -> np.ndarray | None:
        """Return the value as whole numbers known while the graph is read; None for a tensor."""
        value = values.get(name, self._constants.get(name))
        return value if isinstance(value, np.ndarray) else None

    def _tensor(self, name: str, values: dict[str, Any]) -> torch.Tensor | None:
        if not name:
            return None
        if name in values:
            value = values[name]
            return _as_tensor(value) if isinstance(value, np.ndarray) else value
        return self.get_buffer(self._buffers_of[name])


def _as_tensor(sizes: np.ndarray) -> torch.Tensor:
    if sizes.dtype != object:
        return torch.from_numpy(np.ascontiguousarray(sizes))
    parts = [torch.scalar_tensor(each, dtype=torch.int64) for each in sizes.ravel()]
    if not parts:
        return torch.zeros(sizes.shape, dtype=torch.int64)
    return torch.stack(parts).reshape(sizes.shape)


def _check(model: onnx.ModelProto) -> None:
    """Raise UnsupportedModelError for the first operator that has no rule, naming it."""
    functions = {(each.domain, each.name) for each in model.functions}
    for node in model.graph.node:
        if node.op_type == "Constant":
            continue
        domain = "" if node.domain in ("", "ai.onnx") else f"{node.domain}."
        if (node.domain, node.op_type) in functions or domain or rule_of(node.op_type) is None:
            raise UnsupportedModelError(
                f"the operator {domain}{node.op_type} (node {node.name!r}) is not known to the"
                " target 'pytorch'; it runs in ONNX Runtime"
            )


def _constant(node: onnx.NodeProto) -> np.ndarray:
    (attribute,) = node.attribute
    value = helper.get_attribute_value(attribute)
    if attribute.name == "value":
        return numpy_helper.to_array(value)
    dtype = np.float32 if "float" in attribute.name else np.int64
    return np.array(value, dtype)
