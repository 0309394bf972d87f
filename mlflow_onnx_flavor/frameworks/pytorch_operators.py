"""Operators that PyTorch's exporter stumbles over, for its table of custom translations.

Each function takes what the operator does: tensors as values of the graph, numbers as they are.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

_FLOAT = 1  # onnx.TensorProto.DataType


def translations() -> dict[Any, Callable[..., Any]]:
    """For `torch.onnx.export(custom_translation_table=...)`."""
    from torch.ops import aten

    return {aten.rsub.Scalar: _reversed_subtraction}


def _reversed_subtraction(self, other, alpha=1):
    """``1.0 - x``.  Of integers the exporter widens ``x``, and then finds no such operator."""
    from onnxscript import opset20 as op

    floats = isinstance(other, float) or isinstance(alpha, float)
    x = op.Cast(self, to=_FLOAT) if floats and self.dtype.is_integer() else self
    return op.Sub(op.CastLike(other, x), x if alpha == 1 else op.Mul(x, op.CastLike(alpha, x)))
