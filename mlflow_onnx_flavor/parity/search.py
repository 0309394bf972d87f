"""Search for inputs on which a candidate differs that agrees so far.

The rows with the largest errors are varied, rows with larger errors are kept, and so on: a
(mu + lambda) evolution strategy (Beyer and Schwefel, Evolution Strategies: A Comprehensive
Introduction, Natural Computing 1, 2002) on the scaled error.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np

from mlflow_onnx_flavor.comparison.outputs import error_by_row
from mlflow_onnx_flavor.errors import WorkerError
from mlflow_onnx_flavor.inputs import Inputs
from mlflow_onnx_flavor.inputs.probes.mutations import can_vary, neighbours
from mlflow_onnx_flavor.machine.scratch import temporary_folder
from mlflow_onnx_flavor.schemas.origins import SEARCHED_PROBES

_PARENTS, _CHILDREN, _ROUNDS = 32, 96, 5

Outputs = Mapping[str, np.ndarray]
Ask = Callable[[Path, int], Outputs]


def search(given: Sequence[Inputs], source: Ask, candidate: Ask, seed: int) -> Inputs | None:
    """Return the rows with the largest errors that were found; None if nothing can be varied.

    ``given``: rows of one form to begin with.  ``source``, ``candidate``: answer a file of a given
    number of rows.  Rows that either refuses are left out.
    """
    rng = np.random.default_rng(seed)
    kept = Inputs.joined([rows.take(_some(rows, rng)) for rows in given], SEARCHED_PROBES)
    if not can_vary(kept):
        return None
    with temporary_folder("search") as folder:
        errors = _errors(kept, source, candidate, Path(folder) / "start")
        if errors is None:
            return None
        for number in range(_ROUNDS):
            best = np.argsort(-errors, kind="stable")[:_PARENTS]
            kept, errors = kept.take(best), errors[best]
            made = neighbours(kept, _CHILDREN, rng)
            found = _errors(made, source, candidate, Path(folder) / str(number))
            if found is not None:
                kept = Inputs.joined([kept, made], SEARCHED_PROBES)
                errors = np.concatenate([errors, found])
    return kept.take(np.argsort(-errors, kind="stable")[:_PARENTS])


def _some(inputs: Inputs, rng: np.random.Generator, most: int = 512) -> np.ndarray:
    return np.sort(rng.permutation(inputs.rows)[:most])


def _errors(inputs: Inputs, source: Ask, candidate: Ask, folder: Path) -> np.ndarray | None:
    """Return the largest scaled error of the scores of each row; None if either refuses them."""
    path = inputs.save(folder)
    try:
        expected, found = source(path, inputs.rows), candidate(path, inputs.rows)
    except WorkerError:
        return None
    errors = np.zeros(inputs.rows)
    for name, array in expected.items():
        of_rows = np.asarray(array).dtype.kind == "f" and len(array) == inputs.rows
        if of_rows and np.isfinite(array).all() and name in found:
            errors = np.maximum(errors, error_by_row(array, found[name]))
    return errors
