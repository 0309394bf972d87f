"""Criteria of other tools for a candidate, applied to the same outputs: each returns a verdict.

- `numpy.allclose` with its defaults, on the example: what most projects write.
- Polygraphy 0.53: `CompareFunc.simple()` with its defaults (absolute and relative tolerance 1e-5,
  element by element), the package itself where it is installed.
- Olive: its documented accuracy goal, at most 0.01 below the source's (accuracy of labels, R² of
  numbers), with the source's outputs as the ground truth.
- Model Navigator 0.14: its correctness test uses the largest observed difference as its tolerance,
  so that it fails on NaN and infinity only.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

Outputs = Mapping[str, np.ndarray]
LEAST_AGREEMENT = 0.99


def allclose(source: Outputs, candidate: Outputs) -> bool:
    return all(
        _same_shape(array, candidate[name])
        and (
            np.allclose(candidate[name], array, equal_nan=True)
            if np.asarray(array).dtype.kind == "f"
            else bool(np.array_equal(candidate[name], array))
        )
        for name, array in source.items()
    )


def polygraphy(source: Outputs, candidate: Outputs) -> bool:
    numbers = {n: np.ascontiguousarray(each) for n, each in source.items() if _is_number(each)}
    found = {name: np.ascontiguousarray(candidate[name]) for name in numbers}
    try:
        from polygraphy.comparator import CompareFunc, IterationResult
        from polygraphy.logger import G_LOGGER
    except ImportError:
        return all(
            _same_shape(array, found[name])
            and bool(np.all(np.abs(found[name] - array) <= 1e-5 + 1e-5 * np.abs(array)))
            for name, array in numbers.items()
        )
    with G_LOGGER.verbosity(G_LOGGER.CRITICAL):
        accuracy = CompareFunc.simple()(
            IterationResult(outputs=numbers), IterationResult(outputs=found)
        )
    return all(bool(each) for each in accuracy.values())


def olive(source: Outputs, candidate: Outputs) -> bool:
    name, truth = next(iter(source.items()))
    truth, found = np.asarray(truth), np.asarray(candidate[name])
    if not _same_shape(truth, found):
        return False
    if truth.dtype.kind != "f":
        return float(np.mean(truth == found)) >= LEAST_AGREEMENT
    if truth.ndim == 2 and truth.shape[1] > 1:  # scores of classes: accuracy of the best
        return float(np.mean(truth.argmax(1) == found.argmax(1))) >= LEAST_AGREEMENT
    spread = float(np.sum((truth - truth.mean()) ** 2))
    return bool(1 - float(np.sum((truth - found) ** 2)) / max(spread, 1e-30) >= LEAST_AGREEMENT)


def navigator(source: Outputs, candidate: Outputs) -> bool:
    return all(
        np.isfinite(np.asarray(candidate[name], np.float64)).all()
        for name, array in source.items()
        if _is_number(array)
    )


CRITERIA: dict[str, Callable[[Outputs, Outputs], bool]] = {
    "allclose": allclose,
    "Polygraphy": polygraphy,
    "Olive": olive,
    "Navigator": navigator,
}


def _is_number(array: np.ndarray) -> bool:
    return np.asarray(array).dtype.kind in "fiub"


def _same_shape(first: np.ndarray, second: np.ndarray) -> bool:
    return np.shape(first) == np.shape(second)
