"""Floor division and its remainder, as custom operator handlers of tf2onnx.

With integers tf2onnx maps both to a plain division, which rounds towards zero: -1 // 7 is then 0
and -1 % 3 is -1.
"""

from __future__ import annotations

from typing import Any

import numpy as np


def floor_divide(context: Any, node: Any, _name: str, _arguments: list) -> None:
    """Replace the node by ``x // y``, rounded down."""
    (x, y), make = node.input, _Maker(context, node)
    quotient = make("Div", x, y)
    if not make.whole:
        make.last("Floor", quotient)
        return
    zero = make.zero()
    some = make("Not", make("Equal", make("Mod", x, y), zero))
    below = make("Xor", make("Less", x, zero), make("Less", y, zero))
    less = make("Cast", make("And", some, below), to=make.dtype)
    make.last("Sub", quotient, less)


def floor_mod(context: Any, node: Any, _name: str, _arguments: list) -> None:
    """Replace the node by ``x % y``, with the sign of ``y``."""
    (x, y), make = node.input, _Maker(context, node)
    if make.whole:
        make.last("Mod", x, y)
        return
    zero, rest = make.zero(), make("Mod", x, y, fmod=1)
    some = make("Not", make("Equal", rest, zero))
    turned = make("Xor", make("Less", rest, zero), make("Less", y, zero))
    make.last("Where", make("And", some, turned), make("Add", rest, y), rest)


class _Maker:
    """Maker of the nodes that replace ``node``; the method `last` makes the one with its output."""

    def __init__(self, context: Any, node: Any):
        from tf2onnx.utils import map_onnx_to_numpy_type

        self._context, self._name, self._output = context, node.name, node.output[0]
        self.dtype, self._shape = context.get_dtype(self._output), context.get_shape(self._output)
        self._numpy = np.dtype(map_onnx_to_numpy_type(self.dtype))
        self.whole = self._numpy.kind in "iu"
        context.remove_node(node.name)

    def __call__(self, operator: str, *inputs: str, **attributes: Any) -> str:
        return self._context.make_node(operator, list(inputs), attr=attributes).output[0]

    def zero(self) -> str:
        return self._context.make_const(f"{self._name}_zero", np.zeros((), self._numpy)).output[0]

    def last(self, operator: str, *inputs: str) -> None:
        self._context.make_node(
            operator,
            list(inputs),
            name=self._name,
            outputs=[self._output],
            shapes=[self._shape],
            dtypes=[self.dtype],
        )
