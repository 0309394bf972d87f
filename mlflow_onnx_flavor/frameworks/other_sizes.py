"""Inputs of other sizes than the example's, on which an exported file must answer as its model.

Exporters settle questions about sizes by what they see and keep quiet.  So a file is run at other
batch sizes, one row among them, and at other sizes along every other axis that it leaves open.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any

import numpy as np

from mlflow_onnx_flavor.inputs import Inputs
from mlflow_onnx_flavor.inputs.probes.axis_sizes import resized
from mlflow_onnx_flavor.onnx_graph.axes import Axis

# Two rows show that the first axis varies, where exporters take 0 and 1 for constants.
EXAMPLE_ROWS = 2
PROBED_BATCH_SIZES = (1, 3)
MAX_PROBED_SIZE = 4096
# Of the largest value: another arm is off by far more, another order of summation by far less.
PROBE_TOLERANCE = 1e-2


def of_other_sizes(
    example: Inputs,
    session: Any,
    keys: Mapping[str, str],
    batches: Collection[int] = (),
    others: Collection[int] = (),
) -> Iterator[tuple[str, Inputs]]:
    """What to ask, each with its size in words; the example first, whose words are "".

    ``session``: of the file; ``keys``: from the names of its inputs to those in ``example``.
    ``batches``, ``others``: more sizes to ask, of the batch and of other axes.
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
        # Beside axes that go on having the example's size, 1 would be taken for all of that.
        left_out = {given} if axes in sized else {given, 1}
        for size in _within_reason({1, given + 1, 2 * given, *others} - left_out):
            made = resized(arrays, axes, size)
            yield f"a size of {size} along {places}", Inputs(made.get("", made))


def alike(expected: np.ndarray, found: np.ndarray) -> bool:
    """Whether the two are the same but for rounding."""
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
    """The axes beside the first that the file leaves open: those that it gives one name together,
    and those together that happen to have one size, since an exporter may not know that they must.
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
