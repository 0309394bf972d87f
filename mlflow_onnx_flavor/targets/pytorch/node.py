"""A node of a graph in the form that the rules read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import onnx
from onnx import helper, numpy_helper

# Inputs that are shapes, axes or counts: rules need them as whole numbers, not as tensors.
_SIZE_INPUTS = {
    "ConstantOfShape": (0,),
    "CumSum": (1,),
    "Expand": (1,),
    "OneHot": (1,),
    "Pad": (1, 3),
    "ReduceL1": (1,),
    "ReduceL2": (1,),
    "ReduceLogSum": (1,),
    "ReduceLogSumExp": (1,),
    "ReduceMax": (1,),
    "ReduceMean": (1,),
    "ReduceMin": (1,),
    "ReduceProd": (1,),
    "ReduceSum": (1,),
    "ReduceSumSquare": (1,),
    "Range": (0, 1, 2),
    "Reshape": (1,),
    "Resize": (3,),
    "Slice": (1, 2, 3, 4),
    "Split": (1,),
    "Squeeze": (1,),
    "Tile": (1,),
    "TopK": (1,),
    "Trilu": (1,),
    "Unsqueeze": (1,),
}


@dataclass(frozen=True)
class Node:
    """A node; ``inputs``: names, "" for one that is left out; ``opset``: the graph's own."""

    op_type: str
    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: dict[str, Any]
    opset: int
    size_inputs: tuple[int, ...]

    @classmethod
    def read(cls, node: onnx.NodeProto, opset: int) -> Node:
        """Read a node of a graph with that opset."""
        return cls(
            node.op_type,
            node.name,
            tuple(node.input),
            tuple(node.output),
            {each.name: _value(each) for each in node.attribute},
            opset,
            _SIZE_INPUTS.get(node.op_type, ()),
        )

    def get(self, name: str, default: Any = None) -> Any:
        """Return an attribute, or the default if the node does not set it."""
        return self.attributes.get(name, default)


def _value(attribute: onnx.AttributeProto) -> Any:
    value = helper.get_attribute_value(attribute)
    if isinstance(value, onnx.TensorProto):
        return numpy_helper.to_array(value)
    if isinstance(value, bytes):
        return value.decode()
    if isinstance(value, list):
        return [each.decode() if isinstance(each, bytes) else each for each in value]
    return value
