"""PyTorch's operators on the order of numbers: extremes, medians, ranks, positions in a list.

NaN counts as the largest number.  Among equal numbers the index of the first is returned; PyTorch
does not document which one it returns.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from onnxscript.function_libs.torch_lib.ops.core import (
    aten_argmax,
    aten_argmin,
    aten_max_dim,
    aten_min_dim,
)
from torch.ops import aten

from mlflow_onnx_flavor.frameworks.pytorch.operators.parts import (
    BOOL,
    FLOAT,
    INT32,
    INT64,
    integers,
    is_float,
    like,
    op,
    size_along,
)


def order_translations() -> dict[Any, Callable[..., Any]]:
    """Return these operators' part of the table that `table.translations` returns."""
    return {
        aten.argmax.default: _argmax,
        aten.argmin.default: _argmin,
        aten.max.dim: _max,
        aten.min.dim: _min,
        aten.fmax.default: _fmax,
        aten.fmin.default: _fmin,
        aten.sort.stable: _sort_stable,
        aten.median.default: _median_of_all,
        aten.median.dim: _median,
        aten.nanmedian.default: _nanmedian_of_all,
        aten.nanmedian.dim: _nanmedian,
        aten.kthvalue.default: _kth_value,
        aten.mode.default: _mode,
        aten.searchsorted.Tensor: _searchsorted,
        aten.searchsorted.Scalar: _searchsorted_number,
    }


def _argmax(self, dim=None, keepdim=False):
    return aten_argmax(_with_nan_as(float("inf"), self), dim, keepdim)


def _argmin(self, dim=None, keepdim=False):
    return aten_argmin(_with_nan_as(float("-inf"), self), dim, keepdim)


def _max(self, dim, keepdim=False):
    values = aten_max_dim(self, dim, keepdim)[0]
    return _unless_nan(self, values, dim, keepdim), _argmax(self, dim, keepdim)


def _min(self, dim, keepdim=False):
    values = aten_min_dim(self, dim, keepdim)[0]
    return _unless_nan(self, values, dim, keepdim), _argmin(self, dim, keepdim)


def _unless_nan(x, values, dim, keepdim):
    """Return ``values``, or NaN if ``dim`` holds one, which onnxruntime skips at some sizes."""
    if not is_float(x) or not len(x.shape):
        return values
    missing = op.ReduceMax(op.Cast(op.IsNaN(x), to=FLOAT), integers(dim), keepdims=int(keepdim))
    return op.Where(op.Cast(missing, to=BOOL), like(float("nan"), x), values)


def _fmax(self, other):
    return _unless_missing(self, other, op.Max)


def _fmin(self, other):
    return _unless_missing(self, other, op.Min)


def _unless_missing(x, y, choose):
    """Return the chosen of two numbers, or the other number where one of them is NaN."""
    if not is_float(x):
        return choose(x, y)
    there = op.Where(op.IsNaN(x), y, x)
    return choose(there, op.Where(op.IsNaN(y), there, y))


def _sort_stable(self, stable=None, dim=-1, descending=False):
    """Return a stable sort with its indices: NaN comes last, or first in descending order.

    ONNX's TopK keeps the order of equal numbers, too.
    """
    size = size_along(self, dim)
    shown = _with_nan_as(float("inf"), self)
    values, places = op.TopK(shown, size, axis=dim, largest=int(descending), sorted=1)
    if is_float(self):
        values = op.GatherElements(self, places, axis=dim)
    return values, places


def _median_of_all(self):
    return _median(_flat(self), 0)[0]


def _median(self, dim=-1, keepdim=False):
    """Return the median, the lower of two in the middle, and its index; NaN if there is one.

    The index of NaN is that of the first.
    """
    sorted_ = _sorted(self, dim)
    middle = op.Div(op.Sub(size_along(self, dim), integers(1)), integers(2))
    value = op.Gather(sorted_, middle, axis=dim)
    if is_float(self):
        missing = op.Cast(op.IsNaN(self), to=INT32)
        any_missing = op.Cast(op.ReduceMax(missing, [dim], keepdims=1), to=BOOL)
        value = op.Where(any_missing, like(float("nan"), self), value)
    return _with_place(self, value, dim, keepdim)


def _nanmedian_of_all(self):
    return _nanmedian(_flat(self), 0)[0]


def _nanmedian(self, dim=-1, keepdim=False):
    """Return the median of the numbers that are not NaN, and its index; NaN if there are none."""
    if not is_float(self):
        return _median(self, dim, keepdim)
    there = op.Cast(op.Not(op.IsNaN(self)), to=INT64)
    count = op.ReduceSum(there, [dim], keepdims=1)
    middle = op.Div(op.Max(op.Sub(count, integers(1)), integers(0)), integers(2))
    value = op.GatherElements(_sorted(self, dim), middle, axis=dim)
    value = op.Where(op.Equal(count, integers(0)), like(float("nan"), self), value)
    return _with_place(self, value, dim, keepdim)


def _kth_value(self, k, dim=-1, keepdim=False):
    value = op.Gather(_sorted(self, dim), integers(k - 1), axis=dim)
    if is_float(self):
        there = op.Cast(op.Not(op.IsNaN(self)), to=INT64)
        beyond = op.Less(op.ReduceSum(there, [dim], keepdims=1), integers(k))
        value = op.Where(beyond, like(float("nan"), self), value)
    return _with_place(self, value, dim, keepdim)


def _mode(self, dim=-1, keepdim=False):
    """Return the smallest of the most frequent numbers, and its last index."""
    rank = len(self.shape)
    dim %= rank
    last = [axis for axis in range(rank) if axis != dim] + [dim]
    rows = op.Transpose(self, perm=last)  # (..., n)
    pairs = op.Equal(op.Unsqueeze(rows, [-1]), op.Unsqueeze(rows, [-2]))
    counts = op.Max(op.ReduceSum(op.Cast(pairs, to=INT64), [-1], keepdims=0), integers(1))
    frequent = op.Equal(counts, op.ReduceMax(counts, [-1], keepdims=1))
    ranked = op.Where(op.IsNaN(rows), like(float("inf"), self), rows) if is_float(self) else rows
    top = op.ReduceMax(ranked, [-1], keepdims=1)
    value = op.ReduceMin(op.Where(frequent, ranked, top), [-1], keepdims=1)
    place = op.ArgMax(
        op.Cast(op.And(frequent, op.Equal(ranked, value)), to=INT32),
        axis=-1,
        keepdims=1,
        select_last_index=1,
    )
    value = op.GatherElements(rows, place, axis=-1)
    if not keepdim:
        return op.Squeeze(value, [-1]), op.Squeeze(place, [-1])
    back = [last.index(axis) for axis in range(rank)]
    return op.Transpose(value, perm=back), op.Transpose(place, perm=back)


def _searchsorted(sorted_sequence, self, out_int32=False, right=False, side=None, sorter=None):
    """Return how many of the sequence precede each number; NaN comes after all numbers."""
    right = right if side is None else side == "right"
    several, floats = len(sorted_sequence.shape) > 1, is_float(sorted_sequence)
    if sorter is not None:
        sorted_sequence = op.GatherElements(sorted_sequence, sorter, axis=-1)
    if several:
        sorted_sequence = op.Unsqueeze(sorted_sequence, [-2])
    numbers = op.Unsqueeze(self, [-1])
    behind = op.Greater if right else op.GreaterOrEqual
    before = op.Not(behind(sorted_sequence, numbers))
    if floats:  # NaN in the sequence comes after all numbers but NaN
        before = op.And(before, op.Or(op.Not(op.IsNaN(sorted_sequence)), op.IsNaN(numbers)))
    to = INT32 if out_int32 else INT64
    return op.ReduceSum(op.Cast(before, to=to), [-1], keepdims=0)


def _searchsorted_number(
    sorted_sequence, self, out_int32=False, right=False, side=None, sorter=None
):
    number = like(self, sorted_sequence)
    return _searchsorted(sorted_sequence, number, out_int32, right, side, sorter)


def _sorted(x, dim):
    """Return ``x`` sorted along ``dim``, with infinity in place of NaN, which would come last."""
    size = size_along(x, dim)
    if is_float(x):
        x = op.Where(op.IsNaN(x), like(float("inf"), x), x)
    return op.TopK(x, size, axis=dim, largest=0, sorted=1)[0]


def _with_place(x, value, dim, keepdim):
    """Return ``value``, of size 1 along ``dim``, and its first index in ``x``."""
    same = op.Equal(x, value)
    if is_float(x):
        same = op.Or(same, op.And(op.IsNaN(x), op.IsNaN(value)))
    place = op.ArgMax(op.Cast(same, to=INT32), axis=dim, keepdims=1)
    if keepdim:
        return value, place
    return op.Squeeze(value, [dim]), op.Squeeze(place, [dim])


def _with_nan_as(number, x):
    """Return ``x`` with ``number``, an infinity, for NaN, so that argmax or argmin finds NaN."""
    if not is_float(x):
        return x
    shown = op.Where(op.IsNaN(x), like(number, x), x)
    shown.dtype, shown.shape = x.dtype, x.shape
    return shown


def _flat(x):
    flat = op.Reshape(x, integers(-1))
    flat.dtype = x.dtype
    return flat
