"""Parts of graphs that several translations of PyTorch's operators share.

The arguments of a translation have a dtype and a shape; the values that it computes from them have
neither yet.
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
    """Return whether ``x``, an argument of a translation, is a tensor of floats."""
    return x.dtype.is_floating_point()


def integers(*numbers: int) -> Any:
    """Return an int64 constant of shape (len(numbers),)."""
    return op.Constant(value_ints=list(numbers))


def like(number: Any, x: Any) -> Any:
    """Return ``number``, stored in 64 bits, cast to the dtype of ``x``."""
    if isinstance(number, int | float):
        dtype = np.float64 if isinstance(number, float) else np.int64
        number = op.Constant(value=onnx_ir.tensor(np.array(number, dtype)))
    return op.CastLike(number, x)


def size_along(x: Any, dim: int) -> Any:
    """Return the size along ``dim``, of shape (1,)."""
    return op.Gather(op.Shape(x), integers(dim), axis=0)


def fixed_size(x: Any, dim: int, what: str) -> int:
    """Return the size along ``dim``; raise NotExportableError if it varies.

    ``what`` names the operation in the message.
    """
    size = x.shape[dim]
    if not isinstance(size, int):
        raise NotExportableError(
            f"there is no ONNX form of {what} along an axis that varies; fix that axis in the"
            " signature, or compute it in another way"
        )
    return size


def part(x: Any, begin: int, end: int, dim: int) -> Any:
    """Return ``x[begin:end]`` along ``dim``."""
    return op.Slice(x, [begin], [end], [dim])


def is_negative(x: Any) -> Any:
    """Return whether the sign of each float is negative; -0.0 counts as negative."""
    zero = like(0.0, x)
    return op.Or(op.Less(x, zero), op.Less(op.Reciprocal(x), zero))


def log1p(x: Any) -> Any:
    """Return log(1 + x), accurate for small x.

    Source: Goldberg, What Every Computer Scientist Should Know About Floating-Point Arithmetic,
    ACM Computing Surveys 23, 1991, theorem 4.
    """
    one = like(1.0, x)
    u = op.Add(one, x)
    rest = op.Sub(u, one)
    # An infinite sum has an infinite logarithm, and the quotient would be NaN.
    plain = op.Or(op.Equal(rest, like(0.0, x)), op.IsInf(u))
    scaled = op.Div(op.Mul(op.Log(u), x), op.Where(plain, one, rest))
    return op.Where(op.Equal(rest, like(0.0, x)), x, op.Where(plain, op.Log(u), scaled))


def log_add_exp(x: Any, y: Any) -> Any:
    """Return log(exp(x) + exp(y)); x, y and their exponentials may be infinite."""
    larger = op.GreaterOrEqual(x, y)
    high, low = op.Where(larger, x, y), op.Where(larger, y, x)
    # The difference of two equal infinities is NaN.
    same = op.And(op.Equal(high, low), op.IsInf(high))
    return op.Where(same, high, op.Add(high, log1p(op.Exp(op.Sub(low, high)))))
