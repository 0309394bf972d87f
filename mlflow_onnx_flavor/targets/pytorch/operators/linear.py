"""Products of matrices, convolutions and pooling."""

from __future__ import annotations

from typing import Any

import torch

from mlflow_onnx_flavor.errors import UnsupportedModelError
from mlflow_onnx_flavor.targets.pytorch.node import Node

Tensor = torch.Tensor
F = torch.nn.functional


def _gemm(node: Node, first: Tensor, second: Tensor, third: Tensor | None = None) -> Tensor:
    first = first.T if node.get("transA", 0) else first
    second = second.T if node.get("transB", 0) else second
    answer, alpha, beta = first @ second, node.get("alpha", 1.0), node.get("beta", 1.0)
    answer = answer if alpha == 1 else alpha * answer
    if third is None:
        return answer
    return answer + (third if beta == 1 else beta * third)


def _padding(node: Node, value: Tensor, kernel: list[int], strides: list[int]) -> list[int]:
    """Return pads before and after each axis, as `torch.nn.functional.pad` takes them.

    The last axis comes first.
    """
    count = len(kernel)
    dilations = node.get("dilations") or [1] * count
    auto = node.get("auto_pad", "NOTSET")
    pads = node.get("pads") or [0] * (2 * count)
    if auto in ("SAME_UPPER", "SAME_LOWER"):
        pads = _same(value, kernel, strides, dilations, upper=auto == "SAME_UPPER")
    return [each for axis in reversed(range(count)) for each in (pads[axis], pads[axis + count])]


def _same(
    value: Tensor, kernel: list[int], strides: list[int], dilations: list[int], upper: bool
) -> list[Any]:
    before, after = [], []
    for axis, (size, step, dilation) in enumerate(zip(kernel, strides, dilations, strict=True)):
        length = value.shape[axis + 2]
        total = max((-(-length // step) - 1) * step + (size - 1) * dilation + 1 - length, 0)
        before.append(total // 2 if upper else total - total // 2)
        after.append(total - before[-1])
    return before + after


def _conv(node: Node, value: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    kernel = list(weight.shape[2:])
    strides = node.get("strides") or [1] * len(kernel)
    pads = _padding(node, value, kernel, strides)
    work = (F.conv1d, F.conv2d, F.conv3d)[len(kernel) - 1]
    symmetric = pads[::2] == pads[1::2]
    if not symmetric:
        value = F.pad(value, pads)
    return work(
        value,
        weight,
        bias,
        strides,
        pads[::2][::-1] if symmetric else 0,
        node.get("dilations") or [1] * len(kernel),
        node.get("group", 1),
    )


def _conv_transpose(
    node: Node, value: Tensor, weight: Tensor, bias: Tensor | None = None
) -> Tensor:
    count = weight.dim() - 2
    pads = node.get("pads") or [0] * (2 * count)
    if (
        pads[:count] != pads[count:]
        or node.get("output_shape")
        or (node.get("auto_pad", "NOTSET") not in ("NOTSET", "VALID"))
    ):
        raise UnsupportedModelError(
            f"the operator ConvTranspose (node {node.name!r}) pads one side more than the other;"
            " it runs in ONNX Runtime"
        )
    work = (F.conv_transpose1d, F.conv_transpose2d, F.conv_transpose3d)[count - 1]
    return work(
        value,
        weight,
        bias,
        node.get("strides") or [1] * count,
        pads[:count],
        node.get("output_padding") or [0] * count,
        node.get("group", 1),
        node.get("dilations") or [1] * count,
    )


def _max_pool(node: Node, value: Tensor) -> Tensor:
    kernel = node.get("kernel_shape")
    strides = node.get("strides") or [1] * len(kernel)
    work = (F.max_pool1d, F.max_pool2d, F.max_pool3d)[len(kernel) - 1]
    pads = _padding(node, value, kernel, strides)
    if any(pads):
        value = F.pad(value, pads, value=-torch.inf)
    dilations = node.get("dilations") or [1] * len(kernel)
    return work(value, kernel, strides, 0, dilations, bool(node.get("ceil_mode", 0)))


def _average_pool(node: Node, value: Tensor) -> Tensor:
    kernel = node.get("kernel_shape")
    strides = node.get("strides") or [1] * len(kernel)
    pads = _padding(node, value, kernel, strides)
    if node.get("ceil_mode", 0) or pads[::2] != pads[1::2]:
        raise UnsupportedModelError(
            f"the operator AveragePool (node {node.name!r}) pads one side more than the other; it"
            " runs in ONNX Runtime"
        )
    work = (F.avg_pool1d, F.avg_pool2d, F.avg_pool3d)[len(kernel) - 1]
    counts = bool(node.get("count_include_pad", 0))
    return work(value, kernel, strides, pads[::2][::-1], False, counts)


def _global(work: Any) -> Any:
    return lambda node, value: work(value, list(range(2, value.dim())), keepdim=True)


def _einsum(node: Node, *values: Tensor) -> Tensor:
    return torch.einsum(node.get("equation"), *values)


RULES = {
    "AveragePool": _average_pool,
    "Conv": _conv,
    "ConvTranspose": _conv_transpose,
    "Einsum": _einsum,
    "Gemm": _gemm,
    "GlobalAveragePool": _global(torch.mean),
    "GlobalMaxPool": _global(torch.amax),
    "MatMul": lambda node, first, second: torch.matmul(first, second),
    "MaxPool": _max_pool,
}
