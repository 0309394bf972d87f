"""PyTorch's distances, and its functions of two numbers and of signs."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from torch.ops import aten

from mlflow_onnx_flavor.frameworks.pytorch.operators.parts import (
    is_float,
    is_negative,
    like,
    log_add_exp,
    op,
)


def distance_translations() -> dict[Any, Callable[..., Any]]:
    """Return these operators' part of the table that `table.translations` returns."""
    return {
        aten._cdist_forward.default: _cdist,
        aten._euclidean_dist.default: _euclidean,
        aten.hypot.default: _hypot,
        aten.copysign.Tensor: _copysign,
        aten.copysign.Scalar: _copysign,
        aten.sign.default: _sign,
        aten.signbit.default: _signbit,
        aten.atan2.default: _atan2,
        aten.heaviside.default: _heaviside,
        aten.logaddexp.default: _logaddexp,
        aten.logaddexp2.default: _logaddexp2,
    }


def _cdist(x1, x2, p, compute_mode=None):
    """Return the p-norm distance between every row of ``x1`` and every row of ``x2``.

    It is computed from differences.  Beyond 25 rows PyTorch multiplies matrices instead, which is
    less exact.
    """
    apart = op.Abs(op.Sub(op.Unsqueeze(x1, [-2]), op.Unsqueeze(x2, [-3])))
    if p == 0:
        zero = like(0.0, x1)
        return op.ReduceSum(op.CastLike(op.Not(op.Equal(apart, zero)), x1), [-1], keepdims=0)
    if p == float("inf"):
        return op.ReduceMax(apart, [-1], keepdims=0)
    if p == 1:
        return op.ReduceSum(apart, [-1], keepdims=0)
    if p == 2:
        return op.ReduceL2(apart, [-1], keepdims=0)
    powers = op.ReduceSum(op.Pow(apart, like(float(p), x1)), [-1], keepdims=0)
    return op.Pow(powers, like(1.0 / p, x1))


def _euclidean(x1, x2):
    return _cdist(x1, x2, 2)


def _hypot(self, other):
    """Return sqrt(x^2 + y^2) as max * sqrt(1 + (min / max)^2), which does not overflow."""
    self, other = op.Abs(self), op.Abs(other)
    larger = op.GreaterOrEqual(self, other)
    high, low = op.Where(larger, self, other), op.Where(larger, other, self)
    zero, one = like(0.0, self), like(1.0, self)
    share = op.Div(low, op.Where(op.Equal(high, zero), one, high))
    found = op.Mul(high, op.Sqrt(op.Add(one, op.Mul(share, share))))
    infinite = op.Or(op.IsInf(self), op.IsInf(other))
    return op.Where(infinite, like(float("inf"), self), found)


def _copysign(self, other):
    size = op.Abs(self) if is_float(self) else op.Cast(op.Abs(self), to=1)
    if isinstance(other, int | float):
        return op.Neg(size) if str(float(other)).startswith("-") else op.Identity(size)
    return op.Where(is_negative(other), op.Neg(size), size)


def _sign(self):
    """Return the sign, which is 0 for NaN."""
    sign = op.Sign(self)
    return op.Where(op.IsNaN(self), like(0.0, self), sign) if is_float(self) else sign


def _signbit(self):
    return is_negative(self) if is_float(self) else op.Less(self, like(0, self))


def _atan2(self, other):
    """Return the angle of (other, self), by the signs of zeros too; NaN if either number is NaN."""
    zero, one = like(0.0, self), like(1.0, self)
    half, whole = like(math.pi / 2, self), like(math.pi, self)
    y, x = op.Abs(self), op.Abs(other)
    steep = op.Greater(y, x)
    high, low = op.Where(steep, y, x), op.Where(steep, x, y)
    even = op.And(op.Equal(high, low), op.IsInf(high))
    ratio = op.Div(op.Where(even, one, low), op.Where(op.Or(even, op.Equal(high, zero)), one, high))
    angle = op.Atan(ratio)
    angle = op.Where(steep, op.Sub(half, angle), angle)
    angle = op.Where(is_negative(other), op.Sub(whole, angle), angle)
    angle = op.Where(is_negative(self), op.Neg(angle), angle)
    return op.Where(op.Or(op.IsNaN(self), op.IsNaN(other)), like(float("nan"), self), angle)


def _heaviside(self, values):
    """Return 0 for negative numbers and NaN, ``values`` at zero, and 1 otherwise."""
    zero = like(0, self)
    return op.Where(op.Equal(self, zero), values, op.CastLike(op.Greater(self, zero), self))


def _logaddexp(self, other):
    return log_add_exp(self, other)


def _logaddexp2(self, other):
    """Return log2(2^x + 2^y), computed by way of the natural logarithm."""
    scale = like(math.log(2.0), self)
    return op.Div(log_add_exp(op.Mul(self, scale), op.Mul(other, scale)), scale)
