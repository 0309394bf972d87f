"""Normalization by means and variances."""

from __future__ import annotations

import torch

from mlflow_onnx_flavor.targets.pytorch.node import Node

Tensor = torch.Tensor
F = torch.nn.functional


def _batch(
    node: Node, value: Tensor, scale: Tensor, bias: Tensor, mean: Tensor, variance: Tensor
) -> Tensor:
    return F.batch_norm(value, mean, variance, scale, bias, False, 0.0, node.get("epsilon", 1e-5))


def _layer(node: Node, value: Tensor, scale: Tensor, bias: Tensor | None = None) -> Tensor:
    axis = node.get("axis", -1)
    axis = axis + value.dim() if axis < 0 else axis
    axes = list(range(axis, value.dim()))
    mean = value.mean(axes, keepdim=True)
    centred = value - mean
    variance = (centred * centred).mean(axes, keepdim=True)
    answer = centred * torch.rsqrt(variance + node.get("epsilon", 1e-5)) * scale
    return answer if bias is None else answer + bias


def _rms(node: Node, value: Tensor, scale: Tensor) -> Tensor:
    axis = node.get("axis", -1)
    axis = axis + value.dim() if axis < 0 else axis
    squares = (value * value).mean(list(range(axis, value.dim())), keepdim=True)
    return value * torch.rsqrt(squares + node.get("epsilon", 1e-5)) * scale


def _instance(node: Node, value: Tensor, scale: Tensor, bias: Tensor) -> Tensor:
    return F.instance_norm(value, weight=scale, bias=bias, eps=node.get("epsilon", 1e-5))


def _group(node: Node, value: Tensor, scale: Tensor, bias: Tensor) -> Tensor:
    groups = node.get("num_groups")
    if node.opset < 21:  # earlier opsets have one factor for each group
        repeats = value.shape[1] // groups
        scale, bias = (each.repeat_interleave(repeats) for each in (scale, bias))
    return F.group_norm(value, groups, scale, bias, node.get("epsilon", 1e-5))


def _lp(node: Node, value: Tensor) -> Tensor:
    power, axis = node.get("p", 2), node.get("axis", -1)
    norm = torch.linalg.vector_norm(value, power, dim=axis, keepdim=True)
    return torch.where(norm == 0, torch.zeros_like(value), value / norm)


RULES = {
    "BatchNormalization": _batch,
    "GroupNormalization": _group,
    "InstanceNormalization": _instance,
    "LayerNormalization": _layer,
    "LpNormalization": _lp,
    "RMSNormalization": _rms,
}
