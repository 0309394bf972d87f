"""Probes of other sizes along every axis, beside the batch, that the graph leaves open."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from mlflow_onnx_flavor.inputs.batches import InputData, Inputs
from mlflow_onnx_flavor.onnx_graph.axes import Axis
from mlflow_onnx_flavor.schemas.origins import probes_of_size

_ROWS = 4


def size_probes(data: InputData, axes: Sequence[Sequence[Axis]]) -> Iterator[Inputs]:
    """Yield a few rows at other sizes of each group of axes, cut or repeated from the start.

    The sizes are 1, one more than the given size, twice the size, and 7/4 and 7/2 of it, at which
    the positions of neighbours in a resized image are rounded.  ``axes``: those in one sequence
    have the same size.
    """
    if not isinstance(data, np.ndarray | dict):
        return
    arrays = data if isinstance(data, dict) else {"": data}
    for known in axes_of(arrays, axes):
        given = arrays[known[0][0]].shape[known[0][1]]
        for size in sorted({1, given + 1, 2 * given, 7 * given // 4, 7 * given // 2} - {given}):
            made = resized({name: array[:_ROWS] for name, array in arrays.items()}, known, size)
            yield Inputs(made if isinstance(data, dict) else made[""], probes_of_size(size))


def axes_of(
    arrays: Mapping[str, np.ndarray], axes: Sequence[Sequence[Axis]]
) -> Iterator[list[Axis]]:
    """Yield the groups of ``axes`` that the arrays have; an unnamed array is the only input."""
    for group in axes:
        named = group if "" not in arrays else [("", axis) for _, axis in group]
        known = [(name, axis) for name, axis in named if name in arrays]
        if known:
            yield known


def resized(
    arrays: Mapping[str, np.ndarray], axes: Sequence[Axis], size: int
) -> dict[str, np.ndarray]:
    """Return the arrays with each of ``axes`` cut to ``size``, or repeated from its start."""
    made = dict(arrays)
    for name, axis in axes:
        made[name] = np.take(made[name], np.arange(size) % made[name].shape[axis], axis)
    return made
