"""PyTorch's rounding divisions and its remainders, as exact as PyTorch computes them.

The exporter's own forms divide and then round: 1 // 0.1 in floats is then 10 where PyTorch computes
9, and integers beyond 2**24 lose digits in float32.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch.ops import aten

from mlflow_onnx_flavor.frameworks.pytorch.operators.parts import FLOAT, like, op


def division_translations() -> dict[Any, Callable[..., Any]]:
    """Return these operators' part of the table that `table.translations` returns."""
    return {
        aten.div.Tensor_mode: _divide,
        aten.div.Scalar_mode: _divide,
        aten.floor_divide.default: _floor_divide,
        aten.remainder.Tensor: _remainder,
        aten.remainder.Scalar: _remainder,
        aten.remainder.Scalar_Tensor: _remainder,
    }


def _floor_divide(self, other):
    return _divide(self, other, "floor")


def _divide(self, other, rounding_mode=None):
    x, y, floats = _alike(self, other)
    if rounding_mode is None:
        return op.Div(x, y) if floats else op.Div(op.Cast(x, to=FLOAT), op.Cast(y, to=FLOAT))
    quotient = op.Div(x, y)
    if rounding_mode == "trunc":
        if not floats:
            return quotient
        negative = op.Less(quotient, like(0.0, x))
        return op.Where(negative, op.Ceil(quotient), op.Floor(quotient))
    rest = op.Mod(x, y, fmod=1)
    below = op.And(op.Not(op.Equal(rest, like(0, x))), _signs_differ(rest, y, x))
    if not floats:
        return op.Sub(quotient, op.CastLike(below, x))
    zero, one = like(0.0, x), like(1.0, x)
    exact = op.Sub(op.Div(op.Sub(x, rest), y), op.Where(below, one, zero))
    floor = op.Floor(exact)
    nearest = op.Add(floor, op.CastLike(op.Greater(op.Sub(exact, floor), like(0.5, x)), x))
    # A zero takes the sign of the quotient, and a division by zero is not rounded.
    nearest = op.Where(op.Equal(exact, zero), op.Mul(quotient, zero), nearest)
    return op.Where(op.Equal(y, zero), quotient, nearest)


def _remainder(self, other):
    """Return the remainder, with the sign of the divisor."""
    x, y, floats = _alike(self, other)
    if not floats:
        return op.Mod(x, y)
    rest = op.Mod(x, y, fmod=1)
    turned = op.And(op.Not(op.Equal(rest, like(0.0, x))), _signs_differ(rest, y, x))
    return op.Where(turned, op.Add(rest, y), rest)


def _alike(self, other):
    """Return both operands as tensors of one dtype, and whether that dtype is a float."""
    number_first = isinstance(self, int | float)
    tensor, number = (other, self) if number_first else (self, other)
    floats = tensor.dtype.is_floating_point()
    if isinstance(number, float) and not floats:
        tensor, floats = op.Cast(tensor, to=FLOAT), True
    if isinstance(number, int | float):
        number = like(number, tensor)
    return (number, tensor, floats) if number_first else (tensor, number, floats)


def _signs_differ(rest, y, x):
    zero = like(0, x)
    return op.Xor(op.Less(rest, zero), op.Less(y, zero))
