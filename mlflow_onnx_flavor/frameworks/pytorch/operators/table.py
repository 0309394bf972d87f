"""The table of custom translations for operators that PyTorch's exporter lacks or gets wrong.

Each translation has the parameters of its operator: tensors come as values of the graph, numbers as
Python numbers.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from mlflow_onnx_flavor.frameworks.pytorch.operators.attention import attention_translations
from mlflow_onnx_flavor.frameworks.pytorch.operators.distance import distance_translations
from mlflow_onnx_flavor.frameworks.pytorch.operators.division import division_translations
from mlflow_onnx_flavor.frameworks.pytorch.operators.linalg import linalg_translations
from mlflow_onnx_flavor.frameworks.pytorch.operators.numbers import number_translations
from mlflow_onnx_flavor.frameworks.pytorch.operators.order import order_translations
from mlflow_onnx_flavor.frameworks.pytorch.operators.parts import FLOAT, like, op
from mlflow_onnx_flavor.frameworks.pytorch.operators.pooling import pooling_translations
from mlflow_onnx_flavor.frameworks.pytorch.operators.recurrent import recurrent_translations
from mlflow_onnx_flavor.frameworks.pytorch.operators.resizing import resizing_translations
from mlflow_onnx_flavor.frameworks.pytorch.operators.scan import scan_translations
from mlflow_onnx_flavor.frameworks.pytorch.operators.scatter import scatter_translations
from mlflow_onnx_flavor.frameworks.pytorch.operators.special import special_translations


def translations() -> dict[Any, Callable[..., Any]]:
    """Return the table for `torch.onnx.export(custom_translation_table=...)`."""
    from torch.ops import aten

    own = {aten.rsub.Scalar: _reversed_subtraction}
    return {
        **own,
        **attention_translations(),
        **distance_translations(),
        **division_translations(),
        **linalg_translations(),
        **number_translations(),
        **order_translations(),
        **pooling_translations(),
        **recurrent_translations(),
        **resizing_translations(),
        **scan_translations(),
        **scatter_translations(),
        **special_translations(),
    }


def _reversed_subtraction(self, other, alpha=1):
    """``1.0 - x``.  Of integers the exporter widens ``x``, and then finds no such operator."""
    floats = isinstance(other, float) or isinstance(alpha, float)
    x = op.Cast(self, to=FLOAT) if floats and self.dtype.is_integer() else self
    return op.Sub(like(other, x), x if alpha == 1 else op.Mul(x, like(alpha, x)))
