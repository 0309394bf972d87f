"""A PyTorch module computed in float64: the truth that its own rounding is measured against.

A small module is copied and cast.  One in half precision computes in float64 as it is where a wider
copy is not worth its memory, or where it holds tensors that no cast reaches: each operator is given
its tensors, weights among them, widened one by one.
"""

from __future__ import annotations

import copy
import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, cast

import numpy as np
import torch

from mlflow_onnx_flavor.frameworks.base import LoadedSource
from mlflow_onnx_flavor.frameworks.pytorch.calls import Call, answers_of, call_of, tensors_within
from mlflow_onnx_flavor.frameworks.pytorch.compat import (
    TorchDispatchMode,
    changes_its_arguments,
    tree_map_only,
)
from mlflow_onnx_flavor.frameworks.pytorch.floats import HALF, floats_of, floats_within
from mlflow_onnx_flavor.inputs import Inputs

log = logging.getLogger(__name__)

# Beyond so many bytes of parameters a second, wider copy is not worth its memory.
_MOST_BYTES = 500_000_000

# Operators that compute nothing: a table is not widened for the few rows that are taken of it.
_ONLY_PICK = frozenset(
    ("embedding", "index", "index_select", "gather", "t", "transpose", "permute", "view")
    + ("_unsafe_view", "expand", "slice", "select", "split", "unbind", "unsqueeze", "squeeze")
    + ("detach", "alias", "clone")
)


def float64_answers(source: LoadedSource) -> Callable[[Inputs], dict[str, np.ndarray]] | None:
    """The module's outputs in float64; None where it is too large, or has no copy."""
    model, wide = source.native, float64_copy(source.native)
    if wide is None and not widens_on_the_way(model):
        return None

    def answers(inputs: Inputs) -> dict[str, np.ndarray]:
        if wide is None:
            return _on_the_way(model, inputs)
        try:
            with float64_by_default():
                return answers_of(wide, _widened_call(call_of(wide, inputs)))
        except RuntimeError:
            if not HALF.intersection(floats_of(model, inputs)):
                raise
            return _on_the_way(model, inputs)

    return answers


def exact_answers(model: Any, inputs: Inputs) -> dict[str, np.ndarray]:
    """What `float64_answers` answers for ``model`` on ``inputs``; nothing where it cannot."""
    # Of a source it looks at the module alone.
    answers = float64_answers(LoadedSource(model, None, cast("Any", None), {}))
    try:
        return answers(inputs) if answers is not None else {}
    except Exception:  # whatever a module raises that is bound to its dtypes
        log.info("the module does not run in float64", exc_info=True)
        return {}


def float64_copy(model: Any) -> Any:
    """A copy of the module in float64; None where it is too large, or cannot be."""
    size = sum(each.numel() * each.element_size() for each in tensors_within(model))
    if size > _MOST_BYTES:
        return None
    try:
        return copy.deepcopy(model).double()
    except Exception:  # whatever a module raises that cannot be copied or cast
        log.info("the module has no copy in float64", exc_info=True)
        return None


def widens_on_the_way(model: Any) -> bool:
    """Whether a module without a copy in float64 is measured all the same: there is a tolerance for
    what float32 rounds, not for what half precision does.
    """
    return bool(HALF & floats_within(model))


@contextmanager
def float64_by_default(every_tensor: bool = False) -> Iterator[None]:
    """For tensors that a module makes while it runs, of whatever float it asks for: one that calls
    ``x.half()`` on its way is to compute in float64 there too.

    ``every_tensor``: also for those that it already has.
    """
    narrow = (torch.float16, torch.bfloat16, torch.float32)

    class Widened(TorchDispatchMode):
        def __torch_dispatch__(self, operator, _types, args=(), kwargs=None):
            if operator is torch.ops.aten._assert_tensor_metadata.default:
                return None  # a pt2 program insists on the dtypes that it was made with
            kwargs = dict(kwargs or {})
            if kwargs.get("dtype") in narrow:
                kwargs["dtype"] = torch.float64
            if every_tensor and operator.overloadpacket.__name__ not in _ONLY_PICK:
                if changes_its_arguments(operator) and getattr(args[0], "dtype", None) in narrow:
                    raise RuntimeError(f"{operator} changes one of the module's own tensors")
                args, kwargs = tree_map_only(torch.Tensor, _widened, (args, kwargs))
            return operator(*args, **kwargs)

    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        with Widened():
            yield
    finally:
        torch.set_default_dtype(before)


def _on_the_way(model: Any, inputs: Inputs) -> dict[str, np.ndarray]:
    with float64_by_default(every_tensor=True):
        return answers_of(model, _widened_call(call_of(model, inputs)))


def _widened_call(call: Call) -> Call:
    kwargs = {name: _widened(value) for name, value in call.kwargs.items()}
    return replace(call, args=tuple(map(_widened, call.args)), kwargs=kwargs)


def _widened(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _widened(each) for name, each in value.items()}
    return value.double() if value.is_floating_point() else value
