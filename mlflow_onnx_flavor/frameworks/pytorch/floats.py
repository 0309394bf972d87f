"""The float dtypes that a PyTorch module computes in."""

from __future__ import annotations

import logging
from typing import Any

import torch

from mlflow_onnx_flavor.frameworks.pytorch.calls import call_of, run, tensors_of, tensors_within
from mlflow_onnx_flavor.frameworks.pytorch.compat import TorchDispatchMode, tree_leaves
from mlflow_onnx_flavor.inputs import Inputs

log = logging.getLogger(__name__)

HALF = frozenset({"float16", "bfloat16"})
# The dtypes for which onnxruntime's CPU provider lacks kernels.
LACKING = frozenset({"bfloat16", "float64"})


def narrowed(model: Any, example: Inputs) -> frozenset[str]:
    """Return the dtypes that a graph may have to compute in float32, for lack of kernels.

    A module in bfloat16 that casts to float64 on the way does so for precision, so float64 is kept.
    """
    floats = floats_of(model, example)
    if "bfloat16" in floats and "float64" not in _given(model, example):
        return frozenset({"bfloat16"})
    return floats & LACKING


def why_in_float32(dtypes: frozenset[str]) -> str:
    """Return the reason for which a strategy computes ``dtypes`` in float32."""
    if "bfloat16" in dtypes:
        return (
            "computed in float32, which holds every bfloat16: onnxruntime's CPU provider lacks"
            " operators in bfloat16"
        )
    return "computed in float32: onnxruntime has no float64 convolutions, for instance"


def floats_of(model: Any, example: Inputs) -> frozenset[str]:
    """Return the float dtypes that ``model`` computes in, by names such as "bfloat16".

    They are the dtypes of its own tensors, of its inputs and, if it accepts ``example``, of its
    intermediate results, which differ under autocast.
    """
    made: set[str] = set()

    class Seen(TorchDispatchMode):
        def __torch_dispatch__(self, operator, _types, args=(), kwargs=None):
            answer = operator(*args, **(kwargs or {}))
            made.update(_names(answer))
            return answer

    try:
        with Seen():
            run(model, call_of(model, example))
    except Exception:  # whatever a module raises on rows that it does not take
        log.info("the module does not take the example", exc_info=True)
    return frozenset(made) | _given(model, example)


def floats_within(model: Any) -> frozenset[str]:
    """Return the float dtypes of the module's parameters and buffers."""
    return _names(tensors_within(model))


def _given(model: Any, example: Inputs) -> frozenset[str]:
    return floats_within(model) | _names(tensors_of(call_of(model, example)))


def _names(values: Any) -> frozenset[str]:
    """Return the float dtypes of the tensors among ``values``."""
    tensors = (each for each in tree_leaves(values) if isinstance(each, torch.Tensor))
    floats = (each.dtype for each in tensors if each.is_floating_point())
    return frozenset(str(dtype).removeprefix("torch.") for dtype in floats)
