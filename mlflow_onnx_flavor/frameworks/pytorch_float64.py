"""A PyTorch module computed in float64: the truth that its own rounding is measured against."""

from __future__ import annotations

import copy
import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np

from mlflow_onnx_flavor.frameworks.base import LoadedSource
from mlflow_onnx_flavor.frameworks.pytorch_calls import answers_of, call_of, tensors_within
from mlflow_onnx_flavor.inputs import Inputs

log = logging.getLogger(__name__)

# Beyond so many bytes of parameters a second, wider copy is not worth its memory.
_MOST_BYTES = 500_000_000


def float64_answers(source: LoadedSource) -> Callable[[Inputs], dict[str, np.ndarray]] | None:
    """The module's outputs in float64; None where it is too large, or bound to its dtypes."""
    model = float64_copy(source.native)
    if model is None:
        return None

    def answers(inputs: Inputs) -> dict[str, np.ndarray]:
        call = call_of(model, inputs)
        kwargs = {name: _widened(value) for name, value in call.kwargs.items()}
        wide = replace(call, args=tuple(map(_widened, call.args)), kwargs=kwargs)
        with float64_by_default():
            return answers_of(model, wide)

    return answers


def float64_copy(model: Any) -> Any:
    """A copy of the module in float64; None where it is too large, or bound to its dtypes."""
    size = sum(each.numel() * each.element_size() for each in tensors_within(model))
    if size > _MOST_BYTES:
        return None
    try:
        return copy.deepcopy(model).double()
    except Exception:  # whatever a module raises that cannot be copied or cast
        log.info("the module has no copy in float64", exc_info=True)
        return None


@contextmanager
def float64_by_default() -> Iterator[None]:
    """For tensors that a module makes while it runs, of whatever float it asks for: one that calls
    ``x.half()`` on its way is to compute in float64 there too.
    """
    import torch
    from torch.utils._python_dispatch import TorchDispatchMode

    class Widened(TorchDispatchMode):
        def __torch_dispatch__(self, operator, _types, args=(), kwargs=None):
            kwargs = dict(kwargs or {})
            if kwargs.get("dtype") in (torch.float16, torch.bfloat16, torch.float32):
                kwargs["dtype"] = torch.float64
            return operator(*args, **kwargs)

    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        with Widened():
            yield
    finally:
        torch.set_default_dtype(before)


def _widened(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _widened(each) for name, each in value.items()}
    return value.double() if value.is_floating_point() else value
