"""Replacements for PyTorch functions that cannot be traced, with the same results.

`torch.export` runs these functions before they become operators.  Those that compute with sizes in
C++ or in Python fix the batch size, and a check for errors is a side effect, which no graph has.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

from mlflow_onnx_flavor.frameworks.pytorch.compat import distributions_unchecked


@contextmanager
def portable() -> Iterator[None]:
    """Replace the functions that cannot be traced, within the context."""
    instead = _instead()

    class Portable(TorchFunctionMode):
        def __torch_function__(self, function, _types, args=(), kwargs=None):
            return instead.get(function, function)(*args, **(kwargs or {}))

    # Otherwise the order of an einsum of several operands is chosen by the sizes of the example.
    einsum = torch.backends.opt_einsum.flags(enabled=False)
    with distributions_unchecked(), Portable(), einsum:
        yield


def _instead() -> dict[Any, Callable[..., Any]]:
    linalg = torch.linalg
    return {
        torch.take_along_dim: _take_along_dim,
        torch.Tensor.take_along_dim: _take_along_dim,
        torch.inverse: _inverse,
        torch.Tensor.inverse: _inverse,
        linalg.inv: _inverse,
        linalg.solve: _solve,
        linalg.cholesky: _cholesky,
    }


def _take_along_dim(input, indices, dim=None):
    if dim is None:
        return torch.gather(input.reshape(-1), 0, indices.reshape(-1))
    axis = dim % input.dim()
    of_input, of_indices = list(input.shape), list(indices.shape)
    for other in range(input.dim()):
        if other != axis:
            size = of_input[other] if of_indices[other] == 1 else of_indices[other]
            of_input[other] = of_indices[other] = size
    return torch.gather(input.expand(of_input), axis, indices.expand(of_indices))


def _inverse(A):
    return torch.linalg.inv_ex(A).inverse


def _solve(A, B, *, left=True):
    return torch.linalg.solve_ex(A, B, left=left).result


def _cholesky(input, *, upper=False):
    return torch.linalg.cholesky_ex(input, upper=upper).L
