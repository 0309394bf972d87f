"""Tolerances: how far apart two faithful implementations may be.

A tolerance comes from the arithmetic, never from the difference that is judged.  Rounding errors of
a sum of n terms grow like the root of n (Higham and Mary, A New Approach to Probabilistic Rounding
Error Analysis, SIAM Journal on Scientific Computing 41, 2019), and a model may amplify them.  The
amplification of this model is measured on the source alone (`rounding.py`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import sqrt
from typing import Any, Literal

import numpy as np

from mlflow_onnx_flavor.onnx_graph.precision import Arithmetic

Basis = Literal["dtypes", "reductions", "perturbation", "float64"]

# The number of roundings of a dtype that two faithful implementations may be apart in any model:
# - float32: a thousand, 1.2e-4, the project's definition of correct.
# - float64: 9.3e-10.  Kernels differ by more roundings here, since cancellation shows first: of 60
#   scikit-learn estimators converted to pure float64 graphs the farthest faithful one is at 7e-10.
# - float16: 1.6e-2.  Kernels add up in float32 and round what they store.
_ROUNDINGS = {"float64": 2**22, "float32": 2**10, "float16": 2**4}

# More is known of float32.  Kernels approximate exp, tanh and erf to some roundings, and a sum is
# off by a few times the root of its terms; a candidate may round as the source does, or a few times
# worse if its order of summation is less lucky.
_LEAST_ROUNDINGS = 16
_WHERE_ONLY_COUNTED = 32
_PER_ROOT_OF_TERMS = 4
_OWN_ROUNDING = 8


_FLOAT32 = Arithmetic()


@dataclass(frozen=True)
class Rounding:
    """The rounding error of one output of the source, as a scaled error.

    ``basis``: the reference, either the same source run in float64, or the source itself with its
    inputs moved by one rounding.
    """

    error: float
    basis: Literal["float64", "perturbation"]


Roundings = Mapping[str, Rounding]


@dataclass(frozen=True)
class AutoTolerance:
    """The tolerance on the scaled error, and what it is derived from."""

    value: float
    basis: Basis


def auto_tolerance(
    source: np.dtype,
    candidate: np.dtype,
    arithmetic: Arithmetic = _FLOAT32,
    rounding: Rounding | None = None,
) -> AutoTolerance:
    """Return the tolerance of the coarsest arithmetic in the chain, narrowed by measurements.

    A half-precision candidate gets a wider tolerance only if the source is half precision too:
    otherwise a candidate could widen its own tolerance by computing worse.  Only the source's own
    rounding error against float64 can widen the tolerance that the dtypes set.
    """
    floats = [each for each in (source, candidate, np.dtype(arithmetic.dtype)) if each.kind == "f"]
    coarsest = max(floats, key=lambda each: np.finfo(each).eps).name
    if coarsest == "float16" and source.name != "float16":
        coarsest = "float32"
    # numpy's longdouble has no counterpart in ONNX.
    dtype = coarsest if coarsest in _ROUNDINGS else "float64"
    eps = float(np.finfo(dtype).eps)
    widest = eps * _ROUNDINGS[dtype]
    own = _OWN_ROUNDING * rounding.error if rounding else 0.0
    against_float64 = rounding is not None and rounding.basis == "float64"
    if dtype != "float32":
        exceeds = against_float64 and own > widest
        return AutoTolerance(own, "float64") if exceeds else AutoTolerance(widest, "dtypes")
    if against_float64:
        return AutoTolerance(max(own, eps * _LEAST_ROUNDINGS), "float64")
    if arithmetic.terms is None or rounding is None:
        return AutoTolerance(widest, "dtypes")
    summed = eps * (_WHERE_ONLY_COUNTED + _PER_ROOT_OF_TERMS * sqrt(arithmetic.terms))
    if max(own, summed) >= widest:
        return AutoTolerance(widest, "dtypes")
    return AutoTolerance(max(own, summed), "perturbation" if own > summed else "reductions")


def roundings_of(record: Mapping[str, Mapping[str, Any]]) -> dict[str, Rounding]:
    """Read rounding errors from the answer of the task `source.tasks.rounding`."""
    return {name: Rounding(**fields) for name, fields in record.items()}


def widest(roundings: Roundings) -> Rounding | None:
    """Return the rounding error of the output that is moved most, for an answer made of several."""
    return max(roundings.values(), key=lambda each: each.error, default=None)
