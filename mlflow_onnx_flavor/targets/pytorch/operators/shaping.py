"""Operators that move elements, pick them, or make them out of sizes."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from mlflow_onnx_flavor.errors import UnsupportedModelError
from mlflow_onnx_flavor.targets.pytorch.node import Node

Tensor = torch.Tensor


def known(node: Node, sizes: np.ndarray | None, what: str) -> list[Any]:
    """Return sizes as a list; raise UnsupportedModelError if they depend on the data."""
    if sizes is None:
        raise UnsupportedModelError(
            f"the operator {node.op_type} (node {node.name!r}) reads {what} from the data, and"
            " torch.export wants to know it before; it runs in ONNX Runtime"
        )
    return list(np.atleast_1d(sizes))


def axes_of(node: Node, axes: np.ndarray | None) -> list[int] | None:
    """Return the axes of an input, or of an attribute in older opsets; None if both are missing."""
    if axes is not None:
        return [int(each) for each in axes]
    return node.get("axes")


def _reshape(node: Node, value: Tensor, shape: np.ndarray | None) -> Tensor:
    sizes = known(node, shape, "a shape")
    if not node.get("allowzero", 0):
        sizes = [
            value.shape[axis] if isinstance(each, int | np.integer) and each == 0 else each
            for axis, each in enumerate(sizes)
        ]
    return value.reshape([_plain(each) for each in sizes])


def _plain(size: Any) -> Any:
    return int(size) if isinstance(size, np.integer) else size


def _expand(node: Node, value: Tensor, shape: np.ndarray | None) -> Tensor:
    sizes = [_plain(each) for each in known(node, shape, "a shape")]
    while len(sizes) < value.dim():
        sizes.insert(0, 1)
    offset = len(sizes) - value.dim()
    wanted = [
        value.shape[axis - offset]
        if axis >= offset and isinstance(each, int) and each == 1
        else each
        for axis, each in enumerate(sizes)
    ]
    return value.expand(wanted)


def _flatten(node: Node, value: Tensor) -> Tensor:
    axis = node.get("axis", 1)
    axis = axis + value.dim() if axis < 0 else axis
    if axis == 0:
        return value.reshape(1, -1)
    if axis == value.dim():
        return value.reshape(-1, 1)
    return value.flatten(axis).flatten(0, axis - 1)


def _squeeze(node: Node, value: Tensor, axes: np.ndarray | None = None) -> Tensor:
    chosen = axes_of(node, axes)
    if chosen is None:
        chosen = [
            axis for axis, size in enumerate(value.shape) if isinstance(size, int) and size == 1
        ]
    return torch.squeeze(value, [int(each) for each in chosen])


def _unsqueeze(node: Node, value: Tensor, axes: np.ndarray | None = None) -> Tensor:
    chosen = [int(each) for each in axes_of(node, axes) or known(node, axes, "axes")]
    rank = value.dim() + len(chosen)
    for axis in sorted(each % rank for each in chosen):
        value = value.unsqueeze(axis)
    return value


def _transpose(node: Node, value: Tensor) -> Tensor:
    return value.permute(node.get("perm") or list(range(value.dim()))[::-1])


def _slice(node: Node, value: Tensor, *bounds: np.ndarray | None) -> Tensor:
    if not bounds:
        begins, ends = node.get("starts"), node.get("ends")
        axes, steps = node.get("axes") or list(range(len(begins))), [1] * len(begins)
    else:
        begins, ends = (known(node, each, "where to cut") for each in bounds[:2])
        axes = [*(bounds[2] if len(bounds) > 2 and bounds[2] is not None else range(len(begins)))]
        steps = [*(bounds[3] if len(bounds) > 3 and bounds[3] is not None else [1] * len(begins))]
    for begin, end, axis, step in zip(begins, ends, axes, steps, strict=True):
        axis, step = int(axis), int(step)
        if step < 0:
            size = value.shape[axis]
            begin, end = int(begin), int(end)
            begin = min(begin + size if begin < 0 else begin, size - 1)
            end = max(end + size, -1) if end < 0 else end
            at = torch.arange(begin, end, step)
            value = value.index_select(axis, at)
            continue
        cut = [slice(None)] * value.dim()
        cut[axis] = slice(_plain(begin), _bound(end), step)
        value = value[tuple(cut)]
    return value


def _bound(end: Any) -> Any:
    """Return the end of a slice; None for one beyond every size."""
    end = _plain(end)
    return None if isinstance(end, int) and end >= 2**31 - 1 else end


def _split(node: Node, value: Tensor, sizes: np.ndarray | None = None) -> tuple[Tensor, ...]:
    axis = node.get("axis", 0)
    lengths = node.get("split") if sizes is None else [_plain(each) for each in sizes]
    if lengths is None:
        parts = len(node.outputs)
        lengths = -(-value.shape[axis] // parts)
    return tuple(torch.split(value, lengths, dim=axis))


def _tile(node: Node, value: Tensor, repeats: np.ndarray | None) -> Tensor:
    return value.repeat([_plain(each) for each in known(node, repeats, "how often to repeat")])


def _pad(node: Node, value: Tensor, *more: Any) -> Tensor:
    pads = node.get("pads") if not more else known(node, more[0], "how wide to pad")
    constant = more[1] if len(more) > 1 and more[1] is not None else None
    axes = more[2] if len(more) > 2 and more[2] is not None else range(value.dim())
    around = [[0, 0] for _ in range(value.dim())]
    half = len(pads) // 2
    for position, axis in enumerate(axes):
        around[int(axis)] = [_plain(pads[position]), _plain(pads[position + half])]
    mode = {"constant": "constant", "reflect": "reflect", "edge": "replicate", "wrap": "circular"}[
        node.get("mode", "constant")
    ]
    if mode == "constant":
        flat = [each for pair in reversed(around) for each in pair]
        if constant is not None and value.dtype.is_floating_point:
            # The fill value may be a tensor: it is selected outside of the data.
            inside = torch.nn.functional.pad(torch.ones_like(value, dtype=torch.bool), flat)
            return torch.where(inside, torch.nn.functional.pad(value, flat), constant.reshape(()))
        return torch.nn.functional.pad(value, flat)
    first = min((axis for axis, pair in enumerate(around) if pair != [0, 0]), default=0)
    flat = [each for pair in reversed(around[max(first, 1) :]) for each in pair]
    return torch.nn.functional.pad(value, flat, mode=mode)


def _constant_of_shape(node: Node, shape: np.ndarray | None) -> Tensor:
    fill = node.get("value")
    fill = np.zeros(1, np.float32) if fill is None else fill
    sizes = [_plain(each) for each in known(node, shape, "a shape")]
    return torch.full(sizes, fill.ravel()[0].item(), dtype=torch.from_numpy(fill).dtype)


def _range(node: Node, *bounds: np.ndarray | None) -> Tensor:
    begin, end, step = (known(node, each, "a range")[0] for each in bounds)
    return torch.arange(_plain(begin), _plain(end), _plain(step))


def _gather(node: Node, value: Tensor, at: Tensor) -> Tensor:
    axis = node.get("axis", 0)
    axis = axis + value.dim() if axis < 0 else axis
    at = at.long()
    at = torch.where(at < 0, at + value.shape[axis], at)
    picked = value.index_select(axis, at.reshape(-1))
    return picked.reshape(*value.shape[:axis], *at.shape, *value.shape[axis + 1 :])


def _gather_elements(node: Node, value: Tensor, at: Tensor) -> Tensor:
    axis, at = node.get("axis", 0), at.long()
    at = torch.where(at < 0, at + value.shape[axis], at)
    return torch.gather(value, axis, at)


def _gather_nd(node: Node, value: Tensor, at: Tensor) -> Tensor:
    if node.get("batch_dims", 0):
        raise UnsupportedModelError("the operator GatherND with batch_dims runs in ONNX Runtime")
    return value[tuple(at.long().unbind(-1))]


def _scatter_elements(node: Node, value: Tensor, at: Tensor, updates: Tensor) -> Tensor:
    axis, at = node.get("axis", 0), at.long()
    at = torch.where(at < 0, at + value.shape[axis], at)
    how = node.get("reduction", "none")
    if how == "none":
        return value.scatter(axis, at, updates)
    names = {"add": "sum", "mul": "prod", "max": "amax", "min": "amin"}
    return value.scatter_reduce(axis, at, updates, names[how])


def _scatter_nd(node: Node, value: Tensor, at: Tensor, updates: Tensor) -> Tensor:
    how = node.get("reduction", "none")
    if how not in ("none", "add"):
        raise UnsupportedModelError(f"the operator ScatterND by {how} runs in ONNX Runtime")
    return value.index_put(tuple(at.long().unbind(-1)), updates, accumulate=how == "add")


def _one_hot(node: Node, at: Tensor, depth: np.ndarray | None, values: Tensor) -> Tensor:
    (count,) = known(node, depth, "a depth")
    at = at.long()
    at = torch.where(at < 0, at + int(count), at)
    hits = at.unsqueeze(-1) == torch.arange(int(count))
    answer = torch.where(hits, values[1], values[0])
    axis = node.get("axis", -1)
    return answer if axis == -1 else answer.movedim(-1, axis)


def _trilu(node: Node, value: Tensor, k: np.ndarray | None = None) -> Tensor:
    diagonal = 0 if k is None else int(k)
    return torch.triu(value, diagonal) if node.get("upper", 1) else torch.tril(value, diagonal)


def _space_to_depth(node: Node, value: Tensor) -> Tensor:
    block = node.get("blocksize")
    batch, channels, height, width = value.shape
    value = value.reshape(batch, channels, height // block, block, width // block, block)
    value = value.permute(0, 3, 5, 1, 2, 4)
    return value.reshape(batch, channels * block * block, height // block, width // block)


def _shape(node: Node, value: Tensor) -> Tensor:
    sizes = list(value.shape)[node.get("start", 0) : node.get("end", value.dim())]
    return torch.stack([torch.scalar_tensor(each, dtype=torch.int64) for each in sizes])


RULES = {
    "Concat": lambda node, *values: torch.cat(values, dim=node.get("axis")),
    "ConstantOfShape": _constant_of_shape,
    "Expand": _expand,
    "Flatten": _flatten,
    "Gather": _gather,
    "GatherElements": _gather_elements,
    "GatherND": _gather_nd,
    "OneHot": _one_hot,
    "Pad": _pad,
    "Range": _range,
    "Reshape": _reshape,
    "ScatterElements": _scatter_elements,
    "ScatterND": _scatter_nd,
    "Shape": _shape,
    "Slice": _slice,
    "SpaceToDepth": _space_to_depth,
    "Split": _split,
    "Squeeze": _squeeze,
    "Tile": _tile,
    "Transpose": _transpose,
    "Trilu": _trilu,
    "Unsqueeze": _unsqueeze,
}
