"""Operators that reduce many numbers to one or order them: sums, means, extremes, sorting."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch

from mlflow_onnx_flavor.targets.pytorch.node import Node
from mlflow_onnx_flavor.targets.pytorch.operators.shaping import axes_of, known

Tensor = torch.Tensor


def _reduced(work: Callable[[Tensor, list[int], bool], Tensor]) -> Callable[..., Tensor]:
    def rule(node: Node, value: Tensor, axes: np.ndarray | None = None) -> Tensor:
        chosen = axes_of(node, axes)
        if not chosen:
            if node.get("noop_with_empty_axes", 0):
                return value
            chosen = list(range(value.dim()))
        return work(value, [int(each) for each in chosen], bool(node.get("keepdims", 1)))

    return rule


def _product(value: Tensor, axes: list[int], keep: bool) -> Tensor:
    for axis in sorted((each % value.dim() for each in axes), reverse=True):
        value = torch.prod(value, axis, keepdim=keep)
    return value


def _sum(value: Tensor, axes: list[int], keep: bool) -> Tensor:
    return torch.sum(value, axes, keepdim=keep, dtype=value.dtype)


def _mean(value: Tensor, axes: list[int], keep: bool) -> Tensor:
    return torch.mean(value, axes, keepdim=keep)


def _position(work: Callable[..., Tensor]) -> Callable[..., Tensor]:
    def rule(node: Node, value: Tensor) -> Tensor:
        axis, keep = node.get("axis", 0), bool(node.get("keepdims", 1))
        if node.get("select_last_index", 0):
            last = value.shape[axis] - 1
            return last - work(value.flip(axis), axis, keepdim=keep)
        return work(value, axis, keepdim=keep)

    return rule


def _top(node: Node, value: Tensor, k: np.ndarray | None = None) -> tuple[Tensor, Tensor]:
    """Return the top values and positions; of equal values the first comes first, as in ONNX.

    `torch.topk` promises no order.
    """
    count = node.get("k") if k is None else known(node, k, "how many")[0]
    axis, largest = node.get("axis", -1), bool(node.get("largest", 1))
    values, order = torch.sort(value, dim=axis, descending=largest, stable=True)
    count = int(count) if isinstance(count, np.integer) else count
    return values.narrow(axis, 0, count), order.narrow(axis, 0, count)


def _running_sum(node: Node, value: Tensor, axis: np.ndarray | None) -> Tensor:
    (along,) = (int(each) for each in known(node, axis, "an axis"))
    if node.get("reverse", 0):
        value = value.flip(along)
    answer = torch.cumsum(value, along)
    if node.get("exclusive", 0):
        answer = answer - value
    return answer.flip(along) if node.get("reverse", 0) else answer


RULES = {
    "ArgMax": _position(torch.argmax),
    "ArgMin": _position(torch.argmin),
    "CumSum": _running_sum,
    "ReduceL1": _reduced(lambda value, axes, keep: _sum(value.abs(), axes, keep)),
    "ReduceL2": _reduced(lambda value, axes, keep: _sum(value * value, axes, keep).sqrt()),
    "ReduceLogSum": _reduced(lambda value, axes, keep: _sum(value, axes, keep).log()),
    "ReduceLogSumExp": _reduced(lambda value, axes, keep: torch.logsumexp(value, axes, keep)),
    "ReduceMax": _reduced(lambda value, axes, keep: torch.amax(value, axes, keep)),
    "ReduceMean": _reduced(_mean),
    "ReduceMin": _reduced(lambda value, axes, keep: torch.amin(value, axes, keep)),
    "ReduceProd": _reduced(_product),
    "ReduceSum": _reduced(_sum),
    "ReduceSumSquare": _reduced(lambda value, axes, keep: _sum(value * value, axes, keep)),
    "TopK": _top,
}
