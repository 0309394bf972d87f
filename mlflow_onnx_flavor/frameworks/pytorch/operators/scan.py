"""PyTorch's running extremes, products and log-sum-exp, for which ONNX has no operator.

A running combination along n numbers takes log2(n) steps: step k combines every number with the one
2^k places before it (Hillis and Steele, Data Parallel Algorithms, Communications of the ACM 29,
1986).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch.ops import aten

from mlflow_onnx_flavor.frameworks.pytorch.operators.parts import (
    INT64,
    fixed_size,
    integers,
    is_float,
    like,
    log_add_exp,
    op,
    part,
)

# PyTorch multiplies one by one.  Up to so many numbers the graph does, too; beyond, the order of
# the multiplications differs.
_MOST_STEPS = 64


def scan_translations() -> dict[Any, Callable[..., Any]]:
    """Return these operators' part of the table that `table.translations` returns."""
    return {
        aten.cummax.default: _cummax,
        aten.cummin.default: _cummin,
        aten.cumprod.default: _cumprod,
        aten.logcumsumexp.default: _logcumsumexp,
    }


def _cummax(self, dim):
    return _running_extreme(self, dim, op.GreaterOrEqual, "cummax")


def _cummin(self, dim):
    return _running_extreme(self, dim, op.LessOrEqual, "cummin")


def _running_extreme(x, dim, beats, what):
    """Return the running extremes and their indices; the last of equals counts, and NaN stays."""
    if not len(x.shape):
        return op.Identity(x), op.Constant(value_int=0)
    size = fixed_size(x, dim, what)
    floats, places, step = is_float(x), _places(x, dim), 1
    while step < size:
        earlier, before = (_moved(each, dim, step, size) for each in (x, places))
        later = beats(x, earlier)
        if floats:
            later = op.Or(op.IsNaN(x), op.And(op.Not(op.IsNaN(earlier)), later))
        x, places = op.Where(later, x, earlier), op.Where(later, places, before)
        step *= 2
    return op.Identity(x), op.Identity(places)


def _cumprod(self, dim, dtype=-1):
    size = fixed_size(self, dim, "cumprod") if len(self.shape) else 0
    if dtype not in (-1, None):
        self = op.Cast(self, to=dtype)
    elif not is_float(self):
        self = op.Cast(self, to=INT64)
    if not size:
        return op.Identity(self)
    if size <= _MOST_STEPS:
        found = [part(self, 0, 1, dim)]
        for place in range(1, size):
            found.append(op.Mul(found[-1], part(self, place, place + 1, dim)))
        return op.Concat(*found, axis=dim)
    step = 1
    while step < size:
        earlier = _moved(self, dim, step, size, filled=1.0)
        self, step = op.Mul(earlier, self), 2 * step
    return self


def _logcumsumexp(self, dim):
    if not len(self.shape):
        return op.Identity(self)
    size = fixed_size(self, dim, "logcumsumexp")
    step = 1
    while step < size:
        earlier = _moved(self, dim, step, size, filled=float("-inf"))
        self, step = log_add_exp(self, earlier), 2 * step
    return op.Identity(self)


def _moved(x, dim, step, size, filled=None):
    """Return ``x`` shifted by ``step`` places towards the end.

    The free places in front keep the first numbers, or hold ``filled``.
    """
    first = part(x, 0, step, dim)
    if filled is not None:
        first = op.Expand(like(filled, x), op.Shape(first))
    return op.Concat(first, part(x, 0, size - step, dim), axis=dim)


def _places(x, dim):
    """Return the indices 0, 1, ... along ``dim``, in the shape of ``x``."""
    rank = len(x.shape)
    size = x.shape[dim]
    along = [1] * rank
    along[dim] = size
    numbers = op.Reshape(integers(*range(size)), integers(*along))
    return op.Expand(numbers, op.Shape(x))
