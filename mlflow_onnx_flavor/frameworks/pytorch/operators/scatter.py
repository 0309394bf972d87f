"""PyTorch's operators that reduce or select numbers by an index or a mask."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from onnxscript.function_libs.torch_lib.ops.core import aten_scatter_reduce
from torch.ops import aten

from mlflow_onnx_flavor.frameworks.pytorch.operators.parts import BOOL, integers, is_float, like, op


def scatter_translations() -> dict[Any, Callable[..., Any]]:
    """Return these operators' part of the table that `table.translations` returns."""
    return {
        aten.scatter_reduce.two: _scatter_reduce,
        aten.index_reduce.default: _index_reduce,
        aten.masked_select.default: _masked_select,
    }


def _scatter_reduce(self, dim, index, src, reduce, include_self=True):
    """Return the reduction, with a true mean: the exporter's own form computes a sum instead."""
    if reduce != "mean":
        return aten_scatter_reduce(self, dim, index, src, reduce, include_self)
    zero, one, floats = like(0, self), like(1, self), is_float(self)
    given = op.Slice(src, [0] * len(src.shape), op.Shape(index), list(range(len(src.shape))))
    ones = op.Expand(one, op.Shape(index))
    counts = op.Expand(one, op.Shape(self))
    if not include_self:
        nothing = op.Expand(zero, op.Shape(index))
        self = op.ScatterElements(self, index, nothing, axis=dim)
        counts = op.ScatterElements(counts, index, nothing, axis=dim)
    sums = op.ScatterElements(self, index, given, axis=dim, reduction="add")
    counts = op.ScatterElements(counts, index, ones, axis=dim, reduction="add")
    if floats:
        return op.Div(sums, counts)
    whole = op.Div(sums, counts)  # rounds towards zero, where PyTorch rounds down
    below = op.And(op.Less(sums, zero), op.Not(op.Equal(op.Mul(whole, counts), sums)))
    return op.Sub(whole, op.CastLike(below, self))


def _index_reduce(self, dim, index, source, reduce, include_self=True):
    rank = len(self.shape)
    along = [1] * rank
    along[dim] = -1
    places = op.Expand(op.Reshape(index, integers(*along)), op.Shape(source))
    return _scatter_reduce(self, dim % rank, places, source, reduce, include_self)


def _masked_select(self, mask):
    mask = op.And(mask, op.Expand(op.Cast(integers(1), to=BOOL), op.Shape(self)))
    numbers = op.Expand(self, op.Shape(mask))
    return op.Compress(op.Reshape(numbers, integers(-1)), op.Reshape(mask, integers(-1)))
