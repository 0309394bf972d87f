"""Rules from ONNX operators to torch, one file a family, found by presence: its ``RULES``.

A rule is given the node and its inputs, tensors, and whole numbers (numpy arrays) where
`node._SIZE_INPUTS` says so, None for one that is left out.
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
    return rules().get(op_type)


@cache
def rules() -> Mapping[str, Rule]:
    found: dict[str, Rule] = {}
    for each in pkgutil.iter_modules(__path__):
        module = importlib.import_module(f"{__name__}.{each.name}")
        found |= getattr(module, "RULES", {})
    return found
