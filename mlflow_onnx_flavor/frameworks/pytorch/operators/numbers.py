"""Python numbers as arguments of PyTorch's operators, in the full precision of the tensor.

The exporter writes every such number in float32: beside a tensor in float64 a guard of 1e-9 is then
wrong in its eighth digit.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from mlflow_onnx_flavor.frameworks.pytorch.operators.parts import DOUBLE, FLOAT, INT64, like, op

# Klambauer et al., Self-Normalizing Neural Networks, 2017.
_SELU_ALPHA, _SELU_SCALE = 1.6732632423543772848170429916717, 1.0507009873554804934193349852946


def number_translations() -> dict[Any, Callable[..., Any]]:
    """Return these operators' part of the table that `table.translations` returns."""
    from torch.ops import aten

    return {
        aten.scalar_tensor.default: _scalar_tensor,
        aten.full.default: _full,
        aten.full_like.default: _full_like,
        aten.new_full.default: _new_full,
        aten.fill.Scalar: _full_like,
        aten.clamp.default: _clamp,
        aten.clamp_min.default: _clamp_min,
        aten.clamp_max.default: _clamp_max,
        aten.hardtanh.default: _hardtanh,
        aten.masked_fill.Scalar: _masked_fill,
        aten.leaky_relu.default: _leaky_relu,
        aten.elu.default: _elu,
        aten.selu.default: _selu,
    }


def _scalar_tensor(s, dtype=FLOAT, **_where):
    return _number(s, FLOAT if dtype in (None, -1) else dtype)


def _full(size, fill_value, dtype=-1, **_where):
    if dtype in (None, -1):
        dtype = _default(fill_value)
    return op.Expand(_number(fill_value, dtype), op.Cast(_shape(size), to=INT64))


def _full_like(self, fill_value, dtype=-1, **_where):
    return op.Expand(_filling(self, fill_value, dtype), op.Shape(self))


def _new_full(self, size, fill_value, dtype=-1, **_where):
    return op.Expand(_filling(self, fill_value, dtype), op.Cast(_shape(size), to=INT64))


def _clamp(self, min=None, max=None):
    if min is None and max is None:
        return op.Identity(self)
    return op.Clip(self, *(None if each is None else like(each, self) for each in (min, max)))


def _clamp_min(self, min):
    return _clamp(self, min)


def _clamp_max(self, max):
    return _clamp(self, None, max)


def _hardtanh(self, min_val=-1.0, max_val=1.0):
    return _clamp(self, min_val, max_val)


def _masked_fill(self, mask, value):
    return op.Where(mask, like(value, self), self)


def _leaky_relu(self, negative_slope=0.01):
    if self.dtype != DOUBLE:
        return op.LeakyRelu(self, alpha=negative_slope)
    below = op.Less(self, like(0.0, self))
    return op.Where(below, op.Mul(self, like(float(negative_slope), self)), self)


def _elu(self, alpha=1.0, scale=1.0, input_scale=1.0):
    if self.dtype != DOUBLE and scale == input_scale == 1.0:
        return op.Elu(self, alpha=float(alpha))
    zero = like(0.0, self)
    scaled = op.Mul(self, like(float(input_scale), self))
    below = op.Mul(like(float(alpha), self), op.Sub(op.Exp(scaled), like(1.0, self)))
    return op.Mul(op.Where(op.Greater(self, zero), self, below), like(float(scale), self))


def _selu(self):
    if self.dtype != DOUBLE:
        return op.Selu(self)
    return _elu(self, _SELU_ALPHA, _SELU_SCALE)  # onnxruntime has no Selu in float64


def _filling(x, number, dtype):
    return like(number, x) if dtype in (None, -1) else _number(number, dtype)


def _number(number, dtype):
    """Return ``number`` as a tensor without axes, in the ONNX data type ``dtype``."""
    import onnx_ir

    if isinstance(number, bool | int | float):
        kind = np.float64 if isinstance(number, float) else np.int64
        number = op.Constant(value=onnx_ir.tensor(np.array(number, kind)))
    return op.Cast(number, to=int(dtype))


def _default(number):
    """Return the ONNX data type to which PyTorch converts a Python number."""
    if isinstance(number, bool):
        return 9
    return INT64 if isinstance(number, int) else FLOAT


def _shape(size):
    """Sizes as one tensor, some of which may be values of the graph."""
    if not isinstance(size, list | tuple):
        return size
    if all(isinstance(each, int) for each in size):
        return op.Constant(value_ints=list(size))
    minus = op.Constant(value_ints=[-1])
    parts = [
        op.Constant(value_ints=[each]) if isinstance(each, int) else op.Reshape(each, minus)
        for each in size
    ]
    return op.Concat(*parts, axis=0)
