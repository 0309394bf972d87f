"""Nearest-neighbour interpolation, as Gather with the indices of PyTorch's own arithmetic.

ONNX's Resize leaves the rounding of the indices to the runtime: onnxruntime divides by a float32
scale where PyTorch multiplies by one, so that other pixels are read at 4 % of all pairs of sizes
(onnxruntime#12098).

PyTorch has two forms, chosen by the shape (ATen/native/cpu/UpSampleKernel.cpp): a plain one in
float32 for small images, and a general one in the dtype of the image, rounded to float32 before it
is truncated to an integer.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from mlflow_onnx_flavor.frameworks.pytorch.operators.parts import (
    DOUBLE,
    FLOAT,
    INT64,
    op,
    size_along,
)

# The largest sum of height and width of an output for which PyTorch uses the plain form.
_SMALL_IMAGE = 128


def resizing_translations() -> dict[Any, Callable[..., Any]]:
    """Return these operators' part of the table that `table.translations` returns."""
    from torch.ops import aten

    return {
        aten.upsample_nearest1d.vec: _nearest,
        aten.upsample_nearest2d.vec: _nearest,
        aten.upsample_nearest3d.vec: _nearest,
        aten.upsample_nearest1d.default: _nearest_of_sizes,
        aten.upsample_nearest2d.default: _nearest_of_sizes,
        aten.upsample_nearest3d.default: _nearest_of_sizes,
        aten._upsample_nearest_exact1d.vec: _exact,
        aten._upsample_nearest_exact2d.vec: _exact,
        aten._upsample_nearest_exact3d.vec: _exact,
        aten._upsample_nearest_exact1d.default: _exact_of_sizes,
        aten._upsample_nearest_exact2d.default: _exact_of_sizes,
        aten._upsample_nearest_exact3d.default: _exact_of_sizes,
    }


def _nearest(input, output_size=None, scale_factors=None):
    return _resized(input, output_size, scale_factors, exact=False)


def _exact(input, output_size=None, scale_factors=None):
    return _resized(input, output_size, scale_factors, exact=True)


def _nearest_of_sizes(self, output_size, *scales, **named):
    return _resized(self, output_size, _scales(scales, named), exact=False)


def _exact_of_sizes(self, output_size, *scales, **named):
    return _resized(self, output_size, _scales(scales, named), exact=True)


def _scales(scales: Sequence[float | None], named: dict[str, float]) -> list[float] | None:
    found = [each for each in (*scales, *named.values()) if each is not None]
    return found or None


def _resized(image, output_size, scales, exact):
    """``output_size``, ``scales``: one of each axis beside those of rows and channels, or None."""
    axes = list(range(2, len(image.shape)))
    if output_size is None:
        wanted = [_scaled(image, axis, scale) for axis, scale in zip(axes, scales, strict=True)]
    else:
        wanted = _each(output_size, len(axes))
    double = image.dtype == DOUBLE
    small = _is_small(wanted) if len(axes) == 2 else False
    found = image
    for axis, size, scale in zip(axes, wanted, scales or [None] * len(axes), strict=True):
        given = image.shape[axis]
        if all(isinstance(each, int | bool) for each in (given, size, small)):
            places = _constant(_places(_Numbers(), given, size, scale, double, small, exact))
        else:
            given, size = _value(image, axis, given), _as_value(size)
            places = _places(_Graph(), given, size, scale, double, small, exact)
        found = op.Gather(found, places, axis=axis)
    return found


def _scaled(image, axis, scale):
    """``floor(size * scale)``, in float64 as PyTorch computes it."""
    size = image.shape[axis]
    if isinstance(size, int):
        return int(np.floor(np.float64(size) * scale))
    exactly = op.Mul(op.Cast(_value(image, axis, size), to=DOUBLE), _constant(np.float64(scale)))
    return op.Cast(op.Floor(exactly), to=INT64)


def _each(sizes, count):
    """The sizes one by one; they come as a list, or as one tensor."""
    if isinstance(sizes, list | tuple):
        return list(sizes)
    return [op.Gather(sizes, _constant(np.int64(at)), axis=0) for at in range(count)]


def _is_small(wanted):
    height, width = wanted
    if isinstance(height, int) and isinstance(width, int):
        return height + width <= _SMALL_IMAGE
    total = op.Add(_as_value(height), _as_value(width))
    return op.LessOrEqual(total, _constant(np.int64(_SMALL_IMAGE)))


def _places(on, given, wanted, scale, double, small, exact):
    """Return, for each of ``wanted`` output indices, the index into an axis of size ``given``."""
    places = on.count(wanted)
    plain = _by_product(on, places, given, wanted, scale, FLOAT, exact, fused=False)
    if not exact:  # the plain form has two cases without any rounding
        half = on.floor(on.times(on.cast(places, DOUBLE), np.float64(0.5)))
        plain = on.where(on.equal(wanted, on.double(given)), on.cast(half, INT64), plain)
        plain = on.where(on.equal(wanted, given), places, plain)
    if small is True:
        return on.at_most(plain, given)
    dtype = DOUBLE if double else FLOAT
    general = _by_product(on, places, given, wanted, scale, dtype, exact, fused=not double)
    chosen = general if small is False else on.where(small, plain, general)
    return on.at_most(chosen, given)


def _by_product(on, places, given, wanted, scale, dtype, exact, fused):
    """Return ``floor(place * scale)``; with ``exact``, measured from the centre of the pixel.

    With ``fused``, product and difference are rounded once together (a fused multiply-add), which
    for float32 is computed in float64.
    """
    numpy = np.float64 if dtype == DOUBLE else np.float32
    if scale is None:
        ratio = on.divide(on.cast(given, dtype), on.cast(wanted, dtype))
    else:
        ratio = on.number(numpy(1.0 / scale))
    if not exact:
        return on.cast(on.floor(on.cast(on.times(on.cast(places, dtype), ratio), FLOAT)), INT64)
    middles = on.plus(on.cast(places, dtype), numpy(0.5))
    if not fused:
        return on.cast(on.floor(on.cast(on.times(middles, ratio), FLOAT)), INT64)
    product = on.times(on.cast(middles, DOUBLE), on.cast(ratio, DOUBLE))
    source = on.cast(on.plus(product, np.float64(-0.5)), FLOAT)
    source = on.where(on.below_zero(source), on.number(np.float32(0)), source)
    return on.cast(on.floor(on.plus(source, np.float32(0.5))), INT64)


class _Numbers:
    """The arithmetic of `_places` on numbers that are known during the export."""

    _dtypes = {FLOAT: np.float32, DOUBLE: np.float64, INT64: np.int64}

    def count(self, size):
        return np.arange(size)

    def number(self, value):
        return value

    def cast(self, value, dtype):
        return np.asarray(value).astype(self._dtypes[dtype])

    def double(self, value):
        return value * 2

    def at_most(self, places, size):
        return np.minimum(places, size - 1)

    def below_zero(self, value):
        return value < 0

    floor = staticmethod(np.floor)
    times = staticmethod(np.multiply)
    plus = staticmethod(np.add)
    divide = staticmethod(np.divide)
    equal = staticmethod(np.equal)
    where = staticmethod(np.where)


class _Graph:
    """The arithmetic of `_places` as nodes of the graph, for sizes that vary."""

    def __init__(self):
        from onnxscript import opset20

        self._op = opset20

    def count(self, size):
        return self._op.Range(_constant(np.int64(0)), size, _constant(np.int64(1)))

    def number(self, value):
        return _constant(value)

    def cast(self, value, dtype):
        return self._op.Cast(value, to=dtype)

    def double(self, value):
        return self._op.Add(value, value)

    def at_most(self, places, size):
        return self._op.Min(places, self._op.Sub(size, _constant(np.int64(1))))

    def below_zero(self, value):
        return self._op.Less(value, _constant(np.float32(0)))

    def floor(self, value):
        return self._op.Floor(value)

    def times(self, a, b):
        return self._op.Mul(a, _as_value(b))

    def plus(self, a, b):
        return self._op.Add(a, _as_value(b))

    def divide(self, a, b):
        return self._op.Div(a, b)

    def equal(self, a, b):
        return self._op.Equal(a, b)

    def where(self, condition, a, b):
        return self._op.Where(condition, a, b)


def _value(image, axis, size):
    """The size along ``axis``, without axes of its own."""
    if isinstance(size, int):
        return _constant(np.int64(size))
    return op.Squeeze(size_along(image, axis), _constant(np.array([0])))


def _as_value(number):
    """``number`` as a value of the graph; of a value with one axis, the one number in it."""
    if isinstance(number, int):
        return _constant(np.int64(number))
    if isinstance(number, np.generic):
        return _constant(number)
    shape = getattr(number, "shape", None)
    return (
        op.Squeeze(number, _constant(np.array([0]))) if shape is not None and len(shape) else number
    )


def _constant(array: Any) -> Any:
    import onnx_ir

    return op.Constant(value=onnx_ir.tensor(np.asarray(array)))
