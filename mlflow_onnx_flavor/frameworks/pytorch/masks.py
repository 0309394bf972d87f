"""Attention where the mask leaves nothing to attend to, as PyTorch computes it.

A padded position that sees only other padding, as under the sliding window of ModernBERT, is given
zeros by `scaled_dot_product_attention`.  PyTorch's exporter masks with the lowest number of the
dtype instead of minus infinity, beside which all scores are the same: the mean over all keys.
"""

from __future__ import annotations

from typing import Any

import numpy as np


def mask_with_infinity(model: Any) -> None:
    """Mask the scores of every exported attention with minus infinity.

    A row that is masked whole is then NaN after its softmax, which the exporter's own nodes make
    zeros; another answers as before.  ``model``: an onnx_ir.Model, changed in place.
    """
    for node in list(model.graph.all_nodes()):
        if node.op_type == "IsNaN" and (mask := _mask_before(node.inputs[0])) is not None:
            lowest = mask.inputs[2]
            array = None if lowest is None else _constant(lowest)
            if array is not None and array.size == 1 and array == np.finfo(array.dtype).min:
                mask.replace_input_with(2, _infinity(mask, array.dtype))
                if lowest.is_initializer() and not lowest.uses():
                    del model.graph.initializers[lowest.name]


def _mask_before(weights: Any) -> Any:
    """The node that makes the mask of ``weights = softmax(scores + mask)``, where there is one."""
    for op_type, position in (("Softmax", 0), ("Add", 1)):
        node = None if weights is None else weights.producer()
        if node is None or node.op_type != op_type:
            return None
        weights = node.inputs[position]
    node = None if weights is None else weights.producer()
    return node if node is not None and node.op_type == "Where" else None


def _constant(value: Any) -> np.ndarray | None:
    """The floats of a constant; None of anything else."""
    from onnx_ir.convenience import get_const_tensor

    tensor = get_const_tensor(value)
    array = None if tensor is None else tensor.numpy()
    return array if array is not None and array.dtype.kind == "f" else None


def _infinity(before: Any, dtype: np.dtype) -> Any:
    """A constant of minus infinity, made by a node in front of ``before``."""
    import onnx_ir

    constant = onnx_ir.node("Constant", [], {"value": onnx_ir.tensor(np.array(-np.inf, dtype))})
    before.prepend(constant)
    return constant.outputs[0]
