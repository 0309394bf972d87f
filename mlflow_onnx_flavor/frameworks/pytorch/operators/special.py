"""PyTorch's gamma functions, the inverse of erf, log1p and expm1, accurately.

The gamma functions and the inverse of erf are series computed in float64.  log1p, expm1 and
log-sigmoid keep the small digits that the exporter's own forms lose near one.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from torch.ops import aten

from mlflow_onnx_flavor.errors import NotExportableError
from mlflow_onnx_flavor.frameworks.pytorch.operators.parts import (
    DOUBLE,
    FLOAT,
    is_float,
    like,
    log1p,
    op,
)

# Lanczos, A Precision Approximation of the Gamma Function, SIAM Journal on Numerical Analysis B 1,
# 1964, with g = 7 and nine terms: 15 digits.
_G = 7.0
_LANCZOS = (
    0.99999999999980993,
    676.5203681218851,
    -1259.1392167224028,
    771.32342877765313,
    -176.61502916214059,
    12.507343278686905,
    -0.13857109526572012,
    9.9843695780195716e-6,
    1.5056327351493116e-7,
)

# digamma(x) = log(x) - 1/2x - the sum of B(2k) / (2k x^2k) (Abramowitz and Stegun, 6.3.18); from
# x = 8 seven terms give 15 digits.
_BERNOULLI = (1 / 12, -1 / 120, 1 / 252, -1 / 240, 1 / 132, -691 / 32760, 1 / 12)
_FROM = 8

# Giles, Approximating the erfinv function, GPU Computing Gems 2, 2011: single precision, in
# w - 2.5 for w = -log(1 - x^2) below 5, in sqrt(w) - 3 above.
_CENTRAL = (
    *(2.81022636e-08, 3.43273939e-07, -3.5233877e-06, -4.39150654e-06, 0.00021858087),
    *(-0.00125372503, -0.00417768164, 0.246640727, 1.50140941),
)
_TAIL = (
    *(-0.000200214257, 0.000100950558, 0.00134934322, -0.00367342844, 0.00573950773),
    *(-0.0076224613, 0.00943887047, 1.00167406, 2.83297682),
)


def special_translations() -> dict[Any, Callable[..., Any]]:
    """Return these operators' part of the table that `table.translations` returns."""
    return {
        aten.log_sigmoid.default: _log_sigmoid,
        aten.log1p.default: _log1p,
        aten.expm1.default: _expm1,
        aten.lgamma.default: _lgamma,
        aten.digamma.default: _digamma,
        aten.erfinv.default: _erfinv,
    }


def _log_sigmoid(self):
    """Return log(sigmoid(x)), which stays finite where the sigmoid underflows to zero."""
    zero = like(0.0, self)
    below = op.Where(op.Less(self, zero), self, zero)
    return op.Sub(below, log1p(op.Exp(op.Neg(op.Abs(self)))))


def _log1p(self):
    return log1p(self if is_float(self) else op.Cast(self, to=FLOAT))


def _expm1(self):
    """Return exp(x) - 1 by W. Kahan's method, the counterpart of the one in `log1p`."""
    x = self if is_float(self) else op.Cast(self, to=FLOAT)
    one = like(1.0, x)
    u = op.Exp(x)
    rest = op.Sub(u, one)
    tiny = op.Equal(rest, like(0.0, x))
    plain = op.Or(op.Or(tiny, op.IsInf(u)), op.Equal(u, like(0.0, x)))
    scaled = op.Div(op.Mul(rest, x), op.Where(plain, one, op.Log(u)))
    return op.Where(tiny, x, op.Where(plain, rest, scaled))


def _lgamma(self):
    """Return the logarithm of abs(gamma(x)), which is infinite at 0, -1, -2 and so on."""
    x = op.Cast(self, to=DOUBLE)
    half, one = like(0.5, x), like(1.0, x)
    reflected = op.Less(x, half)
    above = op.Where(reflected, op.Sub(one, x), x)
    z = op.Sub(above, one)
    total = like(_LANCZOS[0], x)
    for number, weight in enumerate(_LANCZOS[1:], 1):
        total = op.Add(total, op.Div(like(weight, x), op.Add(z, like(float(number), x))))
    t = op.Add(z, like(_G + 0.5, x))
    found = op.Sub(op.Mul(op.Add(z, half), op.Log(t)), t)
    found = op.Add(op.Add(found, op.Log(total)), like(0.5 * math.log(2 * math.pi), x))
    # The sine of pi x, computed from the distance of x to its nearest integer.
    rest = op.Sub(x, op.Round(x))
    sine = op.Abs(op.Sin(op.Mul(rest, like(math.pi, x))))
    mirrored = op.Sub(op.Sub(like(math.log(math.pi), x), op.Log(sine)), found)
    found = op.Where(reflected, mirrored, found)
    found = op.Where(op.IsInf(self), like(float("inf"), x), found)
    return op.CastLike(found, self)


def _digamma(self):
    """Return digamma(x): NaN at -1, -2, ..., infinite with the opposite sign at 0 and -0."""
    x = op.Cast(self, to=DOUBLE)
    half, one, zero = like(0.5, x), like(1.0, x), like(0.0, x)
    reflected = op.Less(x, half)
    above = op.Where(reflected, op.Sub(one, x), x)
    total = zero
    for _ in range(_FROM):  # digamma(x) = digamma(x + 1) - 1 / x
        small = op.Less(above, like(float(_FROM), x))
        total = op.Where(small, op.Sub(total, op.Div(one, above)), total)
        above = op.Where(small, op.Add(above, one), above)
    inverse = op.Div(one, above)
    square = op.Mul(inverse, inverse)
    series = _polynomial(_BERNOULLI[::-1], square, x)
    total = op.Add(total, op.Sub(op.Log(above), op.Mul(half, inverse)))
    total = op.Sub(total, op.Mul(square, series))
    rest = op.Sub(x, op.Round(x))
    angle = op.Mul(rest, like(math.pi, x))
    cotangent = op.Div(op.Mul(like(math.pi, x), op.Cos(angle)), op.Sin(angle))
    found = op.Where(reflected, op.Sub(total, cotangent), total)
    whole = op.And(op.Equal(rest, zero), op.Less(x, half))
    at_whole = op.Where(op.Equal(x, zero), op.Neg(op.Reciprocal(x)), like(float("nan"), x))
    found = op.Where(whole, at_whole, found)
    found = op.Where(op.IsInf(self, detect_negative=0), like(float("inf"), x), found)
    return op.CastLike(found, self)


def _erfinv(self):
    if self.dtype.name == "DOUBLE":
        raise NotExportableError(
            "there is no ONNX form of erfinv in float64; compute it in float32"
        )
    x = op.Cast(self, to=DOUBLE)
    one = like(1.0, x)
    w = op.Neg(op.Log(op.Mul(op.Sub(one, x), op.Add(one, x))))
    central = _polynomial(_CENTRAL, op.Sub(w, like(2.5, x)), x)
    tail = _polynomial(_TAIL, op.Sub(op.Sqrt(w), like(3.0, x)), x)
    found = op.Mul(op.Where(op.Less(w, like(5.0, x)), central, tail), x)
    edge = op.Equal(op.Abs(x), one)
    found = op.Where(edge, op.Mul(x, like(float("inf"), x)), found)
    return op.CastLike(found, self)


def _polynomial(weights: Sequence[float], x: Any, kind: Any) -> Any:
    """Return the polynomial by Horner's rule; the weight of the highest power comes first."""
    total = like(weights[0], kind)
    for weight in weights[1:]:
        total = op.Add(op.Mul(total, x), like(weight, kind))
    return total
