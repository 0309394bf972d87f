"""Run the source as it would run in service: batch by batch.

A model may branch on the contents of a batch.  Most models do not, and one call for all rows is
much cheaper than hundreds (a Keras call costs 30 ms for one row or for 500).  A few batches are
therefore checked against one call for all rows, if running every batch would take long.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np

from mlflow_onnx_flavor.comparison.batches import joined
from mlflow_onnx_flavor.comparison.outputs import compare_outputs
from mlflow_onnx_flavor.inputs import Inputs

Outputs = dict[str, np.ndarray]

# Number of batches that are always run, spread over the rows.
PROBED_BATCHES = 8

# The rest is run too if it is predicted to take no longer than this.
PATIENCE_S = 1.0


def answers_in_batches(
    ask: Callable[[Inputs], Outputs], inputs: Inputs, batch_size: int, rows: int, whole: Outputs
) -> Outputs:
    """Return the outputs on the first ``rows`` rows, each of shape (rows, ...), batch by batch.

    Each batch has ``batch_size`` rows; the last has the rows that are left.  A first batch that is
    not full is filled up with rows from the start, so that it has that size; so is the last batch
    of a source that accepts no other size.

    ``whole``: the outputs on all rows at once.  They stand for the batches that would take too long
    to run, where the batches that were run agree with them within the rounding error of the
    source's own dtypes.
    """
    starts = range(0, rows, batch_size)
    probed = sorted(
        {starts[at] for at in np.linspace(0, len(starts) - 1, PROBED_BATCHES, dtype=int)}
    )
    begun = time.perf_counter()
    parts = {start: _batch(ask, inputs, batch_size, start, rows) for start in probed}
    needed = (time.perf_counter() - begun) / len(probed) * (len(starts) - len(probed))
    if needed > PATIENCE_S and all(
        _agree(part, _rows_of(whole, start, batch_size, rows)) for start, part in parts.items()
    ):
        rest = {start: _rows_of(whole, start, batch_size, rows) for start in starts}
    else:
        rest = {
            start: _batch(ask, inputs, batch_size, start, rows)
            for start in starts
            if start not in parts
        }
    answered = rest | parts
    return {name: joined(name, [answered[start][name] for start in starts]) for name in whole}


def _batch(
    ask: Callable[[Inputs], Outputs], inputs: Inputs, batch_size: int, start: int, rows: int
) -> Outputs:
    wanted = min(batch_size, rows - start)
    size = wanted if start else batch_size
    try:
        outputs = ask(inputs.batch(size, start))
    except Exception:
        if size == batch_size:
            raise
        size = batch_size
        outputs = ask(inputs.batch(size, start))
    answered = {name: np.atleast_1d(array) for name, array in outputs.items()}
    # An output that has not one row for each input row stays unchanged.
    return {
        name: array[:wanted] if len(array) == size else array for name, array in answered.items()
    }


def _rows_of(outputs: Outputs, start: int, batch_size: int, rows: int) -> Outputs:
    end = min(start + batch_size, rows)
    return {name: np.atleast_1d(array)[start:end] for name, array in outputs.items()}


def _agree(part: Outputs, whole: Outputs) -> bool:
    compared = (compare_outputs(name, whole[name], array) for name, array in part.items())
    return all(each.disagreements(each.auto_tolerance) == 0 for each in compared)
