"""PyTorch's adaptive max pooling, whose windows differ in size if the sizes do not divide."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch.ops import aten

from mlflow_onnx_flavor.frameworks.pytorch.operators.parts import (
    INT64,
    fixed_size,
    integers,
    like,
    op,
    part,
)


def pooling_translations() -> dict[Any, Callable[..., Any]]:
    """Return these operators' part of the table that `table.translations` returns."""
    return {
        aten.adaptive_max_pool2d.default: _adaptive_max_pool,
        aten.adaptive_max_pool3d.default: _adaptive_max_pool,
    }


def _adaptive_max_pool(self, output_size):
    """Return the maxima and their indices, which count through all pooled axes together.

    The maximum over a box is taken along one axis after the other, the last axis first.
    """
    rank, spatial = len(self.shape), len(output_size)
    sizes = [fixed_size(self, axis, "adaptive max pooling") for axis in range(-spatial, 0)]
    count = 1
    for size in sizes:
        count *= size
    numbers = op.Reshape(integers(*range(count)), integers(*sizes))
    values, places = self, op.Expand(numbers, op.Shape(self))
    for axis, size, wanted in reversed(
        list(zip(range(rank - spatial, rank), sizes, output_size, strict=True))
    ):
        if size == wanted:
            continue
        found = []
        for window in range(wanted):
            begin, end = window * size // wanted, -(-(window + 1) * size // wanted)
            within = [part(each, begin, end, axis) for each in (values, places)]
            largest = op.ArgMax(_nan_first(within[0]), axis=axis, keepdims=1)
            found.append([op.GatherElements(each, largest, axis=axis) for each in within])
        values, places = (
            each[0] if wanted == 1 else op.Concat(*each, axis=axis)
            for each in zip(*found, strict=True)
        )
    return op.Identity(values), op.Cast(places, to=INT64)


def _nan_first(x):
    """Return ``x`` with infinity in place of NaN, which is PyTorch's maximum."""
    return op.Where(op.IsNaN(x), like(float("inf"), x), x)
