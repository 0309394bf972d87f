"""Parts of graphs that several translations of PyTorch's operators share.

Only what a translation is given has a dtype and a shape; what it makes of that has none as yet.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx_ir
from onnxscript import opset20

from mlflow_onnx_flavor.errors import NotExportableError

# Its annotations know tensors alone, not the lists and numbers that it also takes in a translation.
op: Any = opset20

FLOAT, INT32, INT64, BOOL, DOUBLE = 1, 6, 7, 9, 11  # onnx.TensorProto.DataType


def is_float(x: Any) -> bool:
    return x.dtype.is_floating_point()


def integers(*numbers: int) -> Any:
    """An int64 constant of shape (len(numbers),)."""
    return op.Constant(value_ints=list(numbers))


def like(number: Any, x: Any) -> Any:
    """``number``, written in 64 bits, in the dtype of ``x``."""
    if isinstance(number, int | float):
        dtype = np.float64 if isinstance(number, float) else np.int64
        number = op.Constant(value=onnx_ir.tensor(np.array(number, dtype)))
    return op.CastLike(number, x)


def size_along(x: Any, dim: int) -> Any:
    """Of shape (1,)."""
    return op.Gather(op.Shape(x), integers(dim), axis=0)


def fixed_size(x: Any, dim: int, what: str) -> int:
    """The size along ``dim``; NotExportableError where it varies."""
    size = x.shape[dim]
    if not isinstance(size, int):
        raise NotExportableError(
            f"there is no ONNX form of {what} along an axis that varies; fix that axis in the"
            " signature, or compute it in another way"
        )
    return size


def part(x: Any, begin: int, end: int, dim: int) -> Any:
    """``x[begin:end]`` along ``dim``."""
    return op.Slice(x, [begin], [end], [dim])


def is_negative(x: Any) -> Any:
    """Whether the sign of a float is minus, of zeros too."""
    zero = like(0.0, x)
    return op.Or(op.Less(x, zero), op.Less(op.Reciprocal(x), zero))


def log1p(x: Any) -> Any:
    """log(1 + x), exact for small x (Goldberg, What Every Computer Scientist Should Know About
    Floating-Point Arithmetic, ACM Computing Surveys 23, 1991, theorem 4).
    """
    one = like(1.0, x)
    u = op.Add(one, x)
    rest = op.Sub(u, one)
    # Where the sum is infinite so is its logarithm, and the quotient would be NaN.
    plain = op.Or(op.Equal(rest, like(0.0, x)), op.IsInf(u))
    scaled = op.Div(op.Mul(op.Log(u), x), op.Where(plain, one, rest))
    return op.Where(op.Equal(rest, like(0.0, x)), x, op.Where(plain, op.Log(u), scaled))


def log_add_exp(x: Any, y: Any) -> Any:
    """log(exp(x) + exp(y)), of which neither has to be finite."""
    larger = op.GreaterOrEqual(x, y)
    high, low = op.Where(larger, x, y), op.Where(larger, y, x)
    # Two infinities are the same, of whose difference nothing is known.
    same = op.And(op.Equal(high, low), op.IsInf(high))
    return op.Where(same, high, op.Add(high, log1p(op.Exp(op.Sub(low, high)))))
