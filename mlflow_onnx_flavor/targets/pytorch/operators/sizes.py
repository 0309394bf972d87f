"""Arithmetic of sizes: known whole numbers, or symbols while a program is exported."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch

from mlflow_onnx_flavor.targets.pytorch.node import Node

_INT64 = 7  # onnx.TensorProto.INT64


def on_sizes(
    node: Node, known: Sequence[np.ndarray | None], values: Sequence[Any]
) -> np.ndarray | None:
    """Return the answer of ``node`` if its inputs are sizes or it reads a tensor's size, else None.

    ``known``: the inputs as sizes; ``values``: the inputs themselves.  None means that the node
    works on tensors.
    """
    if node.op_type in ("Shape", "Size") and known[0] is None and values:
        tensor = values[0]
        if not isinstance(tensor, torch.Tensor):
            return None
        shape = _array(list(tensor.shape))
        if node.op_type == "Size":
            return _tidy(np.prod(shape))
        return shape[node.get("start", 0) : node.get("end", len(shape))]
    work = _WORK.get(node.op_type)
    given = [each for name, each in zip(node.inputs, known, strict=True) if name]
    if work is None or not given or any(each is None for each in given):
        return None
    return work(node, *known)


def _array(values: Sequence[Any]) -> np.ndarray:
    """Return an int64 array, or one of objects if a symbol is among the values."""
    if all(isinstance(each, int | np.integer) for each in values):
        return np.array(values, np.int64)
    made = np.empty(len(values), object)
    made[:] = values
    return made


def _tidy(sizes: Any) -> np.ndarray:
    """Return an array even if numpy returned an element: it unpacks symbols that stand alone."""
    if not isinstance(sizes, np.ndarray):
        return _array([sizes]).reshape([])
    return _array(list(sizes.ravel())).reshape(sizes.shape) if sizes.dtype == object else sizes


def _unsqueeze(node: Node, data: np.ndarray, axes: np.ndarray | None = None) -> np.ndarray | None:
    if data.ndim:
        return None
    return data.reshape([1])


def _squeeze(node: Node, data: np.ndarray, axes: np.ndarray | None = None) -> np.ndarray:
    return data.reshape([]) if data.size == 1 else data


def _gather(node: Node, data: np.ndarray, at: np.ndarray) -> np.ndarray | None:
    return _tidy(data[at.astype(np.int64)]) if data.ndim == 1 and at.dtype != object else None


def _slice(node: Node, data: np.ndarray, *bounds: np.ndarray | None) -> np.ndarray | None:
    if (
        data.ndim != 1
        or len(bounds) < 2
        or any(each is not None and each.dtype == object for each in bounds)
    ):
        return None
    begin, end = int(bounds[0][0]), int(bounds[1][0])
    step = int(bounds[3][0]) if len(bounds) > 3 and bounds[3] is not None else 1
    last = None if step < 0 and end < -len(data) else end
    return data[begin:last:step]


def _concat(node: Node, *parts: np.ndarray) -> np.ndarray | None:
    return _array([each for part in parts for each in part]) if parts[0].ndim == 1 else None


def _cast(node: Node, data: np.ndarray) -> np.ndarray | None:
    if node.get("to") != _INT64:
        return None
    return data if data.dtype == object else data.astype(np.int64)


def _divide(first: Any, second: Any) -> Any:
    if np.asarray(first).dtype == object or np.asarray(second).dtype == object:
        return first // second  # sizes are not negative
    return np.sign(first) * np.sign(second) * (np.abs(first) // np.abs(second))


def _reshape(node: Node, data: np.ndarray, shape: np.ndarray) -> np.ndarray | None:
    if shape.dtype == object or len(shape) > 1:
        return None
    return data.reshape([int(each) for each in shape])


def _where(node: Node, condition: np.ndarray, first: np.ndarray, second: np.ndarray) -> Any:
    return None if condition.dtype == object else np.where(condition.astype(bool), first, second)


def _equal(node: Node, first: np.ndarray, second: np.ndarray) -> np.ndarray | None:
    """Return whether sizes are equal: a symbol never equals -1, which graphs compare with."""
    numbers = [each for each in (first, second) if each.dtype != object]
    if len(numbers) == 2:
        return first == second
    if numbers and (numbers[0] < 0).all():
        return np.zeros(np.broadcast_shapes(first.shape, second.shape), bool)
    return None


def _of_two(work: Callable[[Any, Any], Any]) -> Callable[..., np.ndarray]:
    return lambda node, first, second: _tidy(work(first, second))


def _of_plain(work: Callable[[Any, Any], Any]) -> Callable[..., np.ndarray | None]:
    """Return a rule for numbers alone: it is unknown which of two symbols is larger."""

    def of_numbers(node: Node, *values: np.ndarray) -> np.ndarray | None:
        if any(each.dtype == object for each in values):
            return None
        answer = values[0]
        for each in values[1:]:
            answer = work(answer, each)
        return np.asarray(answer)

    return of_numbers


def _range(*bounds: np.ndarray) -> np.ndarray | None:
    if any(each.dtype == object for each in bounds):
        return None
    return np.arange(*(int(each) for each in bounds))


def _product(node: Node, data: np.ndarray, axes: np.ndarray | None = None) -> np.ndarray:
    product = np.prod(data)
    keep = node.get("keepdims", 1)
    return _array([product]) if keep else _array([product]).reshape([])


_WORK: dict[str, Callable[..., np.ndarray | None]] = {
    "Add": _of_two(lambda first, second: first + second),
    "Cast": _cast,
    "Concat": _concat,
    "Div": _of_two(_divide),
    "Equal": _equal,
    "Gather": _gather,
    "Identity": lambda node, data: data,
    "Max": _of_plain(np.maximum),
    "Min": _of_plain(np.minimum),
    "Mod": _of_two(lambda first, second: first % second),
    "Mul": _of_two(lambda first, second: first * second),
    "Neg": lambda node, data: _tidy(-data),
    "Range": lambda node, *bounds: _range(*bounds),
    "ReduceProd": _product,
    "Reshape": _reshape,
    "Slice": _slice,
    "Squeeze": _squeeze,
    "Sub": _of_two(lambda first, second: first - second),
    "Unsqueeze": _unsqueeze,
    "Where": _where,
}
