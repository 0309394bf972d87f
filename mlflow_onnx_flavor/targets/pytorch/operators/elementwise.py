"""Operators that work on each element alone."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from onnx import helper

from mlflow_onnx_flavor.errors import UnsupportedModelError
from mlflow_onnx_flavor.targets.pytorch.node import Node

Tensor = torch.Tensor


def dtype_of(number: int) -> torch.dtype:
    """Return torch's dtype for ONNX's number of a dtype."""
    if number == 16:  # bfloat16, which numpy does not have
        return torch.bfloat16
    if number == 8:
        raise UnsupportedModelError(
            "the operator Cast makes text, which runs in ONNX Runtime alone"
        )
    return torch.from_numpy(np.zeros(1, helper.tensor_dtype_to_np_dtype(number))).dtype


def _cast(node: Node, value: Tensor) -> Tensor:
    to = dtype_of(node.get("to"))
    if to == torch.bool:
        return value != 0
    return value.to(to)


def _divide(node: Node, first: Tensor, second: Tensor) -> Tensor:
    if first.dtype.is_floating_point:
        return first / second
    return torch.div(first, second, rounding_mode="trunc")


def _mod(node: Node, first: Tensor, second: Tensor) -> Tensor:
    return torch.fmod(first, second) if node.get("fmod") else torch.remainder(first, second)


def _folded(work: Any) -> Any:
    """Return a rule for any number of inputs that applies ``work`` to them one after another."""

    def rule(node: Node, *values: Tensor) -> Tensor:
        answer = values[0]
        for each in values[1:]:
            answer = work(answer, each)
        return answer

    return rule


def _mean(node: Node, *values: Tensor) -> Tensor:
    return _folded(torch.add)(node, *values) / len(values)


def _clip(
    node: Node, value: Tensor, least: Tensor | None = None, most: Tensor | None = None
) -> Any:
    if least is None and node.get("min") is not None:
        least = torch.as_tensor(node.get("min"), dtype=value.dtype)
    if most is None and node.get("max") is not None:
        most = torch.as_tensor(node.get("max"), dtype=value.dtype)
    if least is not None:
        value = torch.maximum(value, least)
    return value if most is None else torch.minimum(value, most)


def _is_infinite(node: Node, value: Tensor) -> Tensor:
    answer = torch.isinf(value)
    if not node.get("detect_negative", 1):
        answer = answer & (value > 0)
    return answer if node.get("detect_positive", 1) else answer & (value < 0)


def _gelu(node: Node, value: Tensor) -> Tensor:
    return torch.nn.functional.gelu(value, approximate=node.get("approximate", "none"))


def _selu(node: Node, value: Tensor) -> Tensor:
    alpha, gamma = node.get("alpha", 1.6732632), node.get("gamma", 1.0507010)
    return gamma * torch.where(value > 0, value, alpha * (torch.exp(value) - 1))


def _hard_sigmoid(node: Node, value: Tensor) -> Tensor:
    return torch.clamp(node.get("alpha", 0.2) * value + node.get("beta", 0.5), 0, 1)


def _softmax(work: Any) -> Any:
    def rule(node: Node, value: Tensor) -> Tensor:
        if node.opset >= 13:
            return work(value, dim=node.get("axis", -1))
        flat = value.flatten(node.get("axis", 1))  # before opset 13 all following axes are one
        return work(flat, dim=-1).reshape(value.shape)

    return rule


def _prelu(node: Node, value: Tensor, slope: Tensor) -> Tensor:
    return torch.where(value < 0, value * slope, value)


def _one(work: Any) -> Any:
    return lambda node, value: work(value)


def _two(work: Any) -> Any:
    return lambda node, first, second: work(first, second)


# torch uses ONNX's names in lower case for these.
_BY_NAME = (
    *("Abs", "Acos", "Acosh", "Asin", "Asinh", "Atan", "Atanh", "Ceil", "Cos", "Cosh", "Erf"),
    *("Exp", "Floor", "IsNaN", "Log", "Neg", "Reciprocal", "Relu", "Round", "Sigmoid", "Sign"),
    *("Sin", "Sinh", "Sqrt", "Tan", "Tanh"),
)

F = torch.nn.functional
RULES = {
    **{name: _one(getattr(torch, name.lower())) for name in _BY_NAME},
    **{
        name: _two(work)
        for name, work in {
            "Add": torch.add,
            "And": torch.logical_and,
            "BitwiseAnd": torch.bitwise_and,
            "BitwiseOr": torch.bitwise_or,
            "Equal": torch.eq,
            "Greater": torch.gt,
            "GreaterOrEqual": torch.ge,
            "Less": torch.lt,
            "LessOrEqual": torch.le,
            "Mul": torch.mul,
            "Or": torch.logical_or,
            "Sub": torch.sub,
            "Xor": torch.logical_xor,
        }.items()
    },
    "Cast": _cast,
    "CastLike": lambda node, value, like: value.to(like.dtype),
    "Celu": lambda node, value: F.celu(value, node.get("alpha", 1.0)),
    "Clip": _clip,
    "Div": _divide,
    "Dropout": lambda node, value, *_: (value, torch.ones_like(value, dtype=torch.bool)),
    "Elu": lambda node, value: F.elu(value, node.get("alpha", 1.0)),
    "Gelu": _gelu,
    "HardSigmoid": _hard_sigmoid,
    "HardSwish": lambda node, value: value * torch.clamp(value / 6 + 0.5, 0, 1),
    "Identity": lambda node, value: value.clone(),
    "IsInf": _is_infinite,
    "LeakyRelu": lambda node, value: F.leaky_relu(value, node.get("alpha", 0.01)),
    "LogSoftmax": _softmax(torch.log_softmax),
    "Max": _folded(torch.maximum),
    "Mean": _mean,
    "Min": _folded(torch.minimum),
    "Mish": _one(F.mish),
    "Mod": _mod,
    "Not": _one(torch.logical_not),
    "PRelu": _prelu,
    "Pow": lambda node, base, power: torch.pow(base, power).to(base.dtype),
    "Selu": _selu,
    "Softmax": _softmax(torch.softmax),
    "Softplus": lambda node, value: F.softplus(value, threshold=1e6),
    "Softsign": _one(F.softsign),
    "Sum": _folded(torch.add),
    "Swish": lambda node, value: value * torch.sigmoid(node.get("alpha", 1.0) * value),
    "ThresholdedRelu": lambda node, value: torch.where(value > node.get("alpha", 1.0), value, 0),
    "Where": lambda node, condition, first, second: torch.where(condition, first, second),
}
