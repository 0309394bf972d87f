"""PyTorch modules computed in float64, the reference for a module's own rounding error.

A small module is copied and cast.  A module in half precision is run without a copy if a float64
copy would take too much memory, or if it holds tensors that no cast reaches: then the tensors that
each operator takes, weights among them, are cast to float64 one by one.
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

# The most bytes of parameters and buffers for which a float64 copy is worth its memory.
_MOST_BYTES = 500_000_000

# Operators that only select or rearrange: a whole embedding table is not cast to float64 for the
# few rows that are read from it.
_ONLY_PICK = frozenset(
    ("embedding", "index", "index_select", "gather", "t", "transpose", "permute", "view")
    + ("_unsafe_view", "expand", "slice", "select", "split", "unbind", "unsqueeze", "squeeze")
    + ("detach", "alias", "clone")
)


def float64_answers(source: LoadedSource) -> Callable[[Inputs], dict[str, np.ndarray]] | None:
    """Return a function that computes the module's outputs in float64.

    None if the module is too large or cannot be copied, and is not in half precision.
    """
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
    """Return a float64 copy of the module; None if it is too large or cannot be copied or cast."""
    size = sum(each.numel() * each.element_size() for each in tensors_within(model))
    if size > _MOST_BYTES:
        return None
    try:
        return copy.deepcopy(model).double()
    except Exception:  # whatever a module raises that cannot be copied or cast
        log.info("the module has no copy in float64", exc_info=True)
        return None


def widens_on_the_way(model: Any) -> bool:
    """Return whether a module without a float64 copy is run in float64 operator by operator.

    This is done for half precision: its rounding error must be measured, whereas for float32 there
    is a fixed tolerance.
    """
    return bool(HALF & floats_within(model))


@contextmanager
def float64_by_default(every_tensor: bool = False) -> Iterator[None]:
    """Make tensors created within the context float64, whichever float dtype a module asks for.

    A module that calls ``x.half()`` on the way computes in float64 there too.  With
    ``every_tensor``, the tensors that the module already has are cast as well.
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
