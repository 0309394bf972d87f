"""Inputs of other sizes than the example's, on which a file and its model must agree.

Exporters silently decide questions about sizes by the example.  Therefore a file is run at other
batch sizes, one row among them, and at other sizes along every other dynamic axis.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any

import numpy as np

from mlflow_onnx_flavor.inputs import Inputs
from mlflow_onnx_flavor.inputs.probes.axis_sizes import resized
from mlflow_onnx_flavor.onnx_graph.axes import Axis

# Exporters treat sizes 0 and 1 as constants, so an example of two rows is the smallest that keeps
# the first axis dynamic.
EXAMPLE_ROWS = 2
PROBED_BATCH_SIZES = (1, 3)
MAX_PROBED_SIZE = 4096
# The tolerance relative to the largest value: another branch differs by far more, another order of
# summation by far less.
PROBE_TOLERANCE = 1e-2


def of_other_sizes(
    example: Inputs,
    session: Any,
    keys: Mapping[str, str],
    batches: Collection[int] = (),
    others: Collection[int] = (),
) -> Iterator[tuple[str, Inputs]]:
    """Yield inputs, each with its size in words; the example comes first, with the words "".

    ``session`` is the file's; ``keys`` maps the names of its inputs to those in ``example``.
    ``batches`` and ``others`` are additional sizes of the batch and of other axes.
    """
    yield "", example.batch(EXAMPLE_ROWS)
    for size in _within_reason({*PROBED_BATCH_SIZES, *batches}):
        yield f"a batch of {size}", example.batch(size)
    rows = example.batch(EXAMPLE_ROWS).data
    if not isinstance(rows, np.ndarray | dict):
        return
    arrays = rows if isinstance(rows, dict) else {"": rows}
    named, sized = _open_axes(session, keys, arrays)
    for axes in [*named, *(each for each in sized if each not in named)]:
        given = arrays[axes[0][0]].shape[axes[0][1]]
        places = " and ".join(f"axis {axis} of {name or 'the input'}" for name, axis in axes)
        # A size of 1 would be broadcast against other axes that keep the example's size.
        left_out = {given} if axes in sized else {given, 1}
        for size in _within_reason({1, given + 1, 2 * given, *others} - left_out):
            made = resized(arrays, axes, size)
            yield f"a size of {size} along {places}", Inputs(made.get("", made))


def alike(expected: np.ndarray, found: np.ndarray) -> bool:
    """Return whether two outputs are the same, apart from rounding error."""
    if expected.shape != found.shape:
        return False
    if expected.dtype.kind not in "fc":
        return bool(np.array_equal(expected, found))
    finite = np.abs(expected[np.isfinite(expected)])
    slack = PROBE_TOLERANCE * float(finite.max(initial=0.0)) + np.finfo(np.float32).tiny
    return bool(np.allclose(found, expected, rtol=0.0, atol=slack, equal_nan=True))


def _within_reason(sizes: set[int]) -> list[int]:
    return sorted(size for size in sizes if 1 <= size <= MAX_PROBED_SIZE)


def _open_axes(
    session: Any, keys: Mapping[str, str], arrays: Mapping[str, np.ndarray]
) -> tuple[list[list[Axis]], list[list[Axis]]]:
    """Return the dynamic axes other than the first, grouped by name and grouped by size.

    Axes of one name vary together.  Axes of one size in the example are tried together as well,
    since an exporter may not know that they must be equal.
    """
    named: dict[str, list[Axis]] = {}
    sized: dict[int, list[Axis]] = {}
    for value in session.get_inputs():
        key = keys[value.name] if "" not in arrays else ""
        for axis, size in enumerate(value.shape):
            if axis and not isinstance(size, int):
                named.setdefault(size or f"{value.name}\0{axis}", []).append((key, axis))
                sized.setdefault(arrays[key].shape[axis], []).append((key, axis))
    return list(named.values()), list(sized.values())
