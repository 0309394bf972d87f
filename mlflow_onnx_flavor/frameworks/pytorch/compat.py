"""Private APIs of torch and MLflow and patches to them: all of them are in this module.

Each entry says why it is needed; `tests/frameworks/pytorch/test_compat.py` fails when an entry is
no longer needed.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import mlflow.pytorch
import torch
from torch._export.converter import TS2EPConverter

# Why: the one way to see every operator that a module runs; documented by PyTorch's own notes on
# __torch_dispatch__, under this private module alone.
from torch.utils._python_dispatch import TorchDispatchMode

# Why: torch has no public functions on nested structures of tensors.
from torch.utils._pytree import tree_leaves, tree_map_only

__all__ = ["TorchDispatchMode", "tree_leaves", "tree_map_only"]


def program_of_script(script: Any, tensors: tuple[Any, ...]) -> Any:
    """Return a script module as a torch.export program.

    Why: torch.export refuses a script module, and its message names this class as the way.
    """
    return TS2EPConverter(script, tensors).convert()


def changes_its_arguments(operator: Any) -> bool:
    """Return whether ``operator`` writes into a tensor that it is called with.

    Why: an operator's schema is the one place that says so, and has no public name.
    """
    return operator._schema.is_mutable


@contextmanager
def distributions_unchecked() -> Iterator[None]:
    """Switch off the checks that distributions make of their parameters, within the context.

    These checks read values of tensors, which do not exist during tracing.

    Why: torch sets the default publicly, and reads it only privately.
    """
    distribution = torch.distributions.Distribution
    before = distribution._validate_args
    distribution.set_default_validate_args(False)
    try:
        yield
    finally:
        distribution.set_default_validate_args(before)


def served_on_cpu(model: Any) -> Any:
    """Return MLflow's wrapper of a PyTorch model around ``model``.

    Why: MLflow's loader of pyfuncs has no ``map_location``, so a model that was pickled on a GPU
    does not load without one.
    """
    return mlflow.pytorch._PyTorchWrapper(model, "cpu")
