"""Rules from ONNX operators to torch, one file for each family, collected from its ``RULES``.

A rule receives the node and its inputs: tensors, whole numbers (numpy arrays) if
`node._SIZE_INPUTS` lists them, None for one that is left out.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

from mlflow_onnx_flavor.targets.pytorch.operators.sizes import on_sizes as on_sizes

Rule = Callable[..., Any]


def rule_of(op_type: str) -> Rule | None:
    """Return the rule of an operator; None if there is none."""
    return rules().get(op_type)


@cache
def rules() -> Mapping[str, Rule]:
    """Return all rules by operator."""
    found: dict[str, Rule] = {}
    for each in pkgutil.iter_modules(__path__):
        module = importlib.import_module(f"{__name__}.{each.name}")
        found |= getattr(module, "RULES", {})
    return found
