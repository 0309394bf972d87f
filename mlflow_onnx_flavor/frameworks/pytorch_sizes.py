"""Inputs of other sizes than the example's, on which an exported file must answer as its module.

`torch.onnx.export` settles questions about sizes by the example and keeps quiet: a branch such as
``if x.shape[1] > 6`` becomes the arm that the example takes.  So the file is run at other batch
sizes, one row among them, at other sizes along every other axis that it leaves open, and at those
just outside of the ranges that the export assumed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from mlflow_onnx_flavor.inputs import Inputs
from mlflow_onnx_flavor.inputs.size_probes import Axis, resized

# torch.export takes a batch of 0 or 1 for a constant; two rows show that the axis varies.
EXAMPLE_ROWS = 2
PROBED_BATCH_SIZES = (1, 3)
MAX_PROBED_SIZE = 4096


def of_other_sizes(
    example: Inputs, session: Any, keys: Mapping[str, str], program: Any = None
) -> Iterator[tuple[str, Inputs]]:
    """What to ask, each with its size in words; the example first, whose words are "".

    ``session``: of the file; ``keys``: from the names of its inputs to those in ``example``.
    ``program``: torch.onnx.export's, where the export made one.
    """
    yield "", example.batch(EXAMPLE_ROWS)
    batches, others = _edges(program) if program is not None else ((), ())
    for size in _within_reason({*PROBED_BATCH_SIZES, *batches}):
        yield f"a batch of {size}", example.batch(size)
    rows = example.batch(EXAMPLE_ROWS).data
    if not isinstance(rows, np.ndarray | dict):
        return
    arrays = rows if isinstance(rows, dict) else {"": rows}
    for axes in _open_axes(session, keys, arrays):
        given = arrays[axes[0][0]].shape[axes[0][1]]
        places = " and ".join(f"axis {axis} of {name or 'the input'}" for name, axis in axes)
        for size in _within_reason({1, given + 1, 2 * given, *others} - {given}):
            made = resized(arrays, axes, size)
            yield f"a size of {size} along {places}", Inputs(made.get("", made))


def _within_reason(sizes: set[int]) -> list[int]:
    return sorted(size for size in sizes if 1 <= size <= MAX_PROBED_SIZE)


def _open_axes(
    session: Any, keys: Mapping[str, str], arrays: Mapping[str, np.ndarray]
) -> list[list[Axis]]:
    """The axes beside the first that the file leaves open: those that it gives one name together,
    and together too what happens to have one size, since an exporter may not know that it must.
    """
    named: dict[str, list[Axis]] = {}
    sized: dict[int, list[Axis]] = {}
    for value in session.get_inputs():
        key = keys[value.name] if "" not in arrays else ""
        for axis, size in enumerate(value.shape):
            if axis and not isinstance(size, int):
                named.setdefault(size or f"{value.name}\0{axis}", []).append((key, axis))
                sized.setdefault(arrays[key].shape[axis], []).append((key, axis))
    return [*named.values(), *(axes for axes in sized.values() if axes not in named.values())]


def _edges(program: Any) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The sizes just outside of the ranges that the export assumed: of batches, of other axes."""
    batches, others = [], []
    batch_symbols = {str(each) for each in _batch_symbols(program.exported_program)}
    for symbol, found in program.exported_program.range_constraints.items():
        sizes = batches if str(symbol) in batch_symbols else others
        if found.lower.is_Integer and int(found.lower) > 1:
            sizes.append(int(found.lower) - 1)
        if found.upper.is_Integer:
            sizes.append(int(found.upper) + 1)
    return tuple(batches), tuple(others)


def _batch_symbols(program: Any) -> Iterator[Any]:
    user_inputs = set(program.graph_signature.user_inputs)
    for node in program.graph.nodes:
        if node.op == "placeholder" and node.name in user_inputs and len(node.meta["val"].shape):
            yield node.meta["val"].shape[0]
