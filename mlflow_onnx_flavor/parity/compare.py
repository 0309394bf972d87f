"""Compare one output of source and candidate, row by row; the result is `OutputParity`."""

from __future__ import annotations

from math import prod

import numpy as np

from mlflow_onnx_flavor.evidence import ERROR_THRESHOLDS, OutputParity

_THRESHOLDS = np.array(ERROR_THRESHOLDS)

# Faithful arithmetic is off by a rounding at every step, and steps add up: a thousand roundings of
# the coarser dtype is what the project calls right (1.2e-4 for float32).
ROUNDINGS = 1024


def compare_outputs(
    name: str, source: np.ndarray, candidate: np.ndarray, graph_dtype: str = "float32"
) -> OutputParity:
    """``source`` and ``candidate``: arrays of shape (rows, ...), the same rows in the same order.

    ``graph_dtype``: the coarsest float dtype that the source or the candidate's graph is declared
    to compute in; the outputs' own dtypes count as well.
    """
    source, candidate = np.asarray(source), np.asarray(candidate)
    if _is_label(source) or _is_label(candidate):
        return _compare_labels(name, source, candidate)
    return _compare_scores(name, source, candidate, graph_dtype)


def _is_label(array: np.ndarray) -> bool:
    return array.dtype.kind in "OUSbiu"


def _compare_labels(name: str, source: np.ndarray, candidate: np.ndarray) -> OutputParity:
    common = _common(name, "labels", source, candidate)
    if source.shape != candidate.shape:
        return OutputParity(**common, label_disagreements=len(source))
    flat = (len(source), prod(source.shape[1:]))
    unequal = _unequal(source, candidate).reshape(flat).any(axis=1)
    return OutputParity(**common, label_disagreements=int(unequal.sum()))


def _unequal(source: np.ndarray, candidate: np.ndarray) -> np.ndarray:
    """Labels are compared by value: 1 equals 1.0 and True, but never "1"."""
    textual = {array.dtype.kind in "OUS" for array in (source, candidate)}
    if textual == {True}:
        source, candidate = source.astype(object), candidate.astype(object)
        missing = _missing(source) & _missing(candidate)
        return ~missing & (source != candidate)
    if textual == {False}:
        return source != candidate
    return np.array(
        [left != right for left, right in zip(source.ravel(), candidate.ravel(), strict=True)]
    ).reshape(source.shape)


def _missing(array: np.ndarray) -> np.ndarray:
    return np.array([each is None or each != each for each in array.ravel()]).reshape(array.shape)


def _compare_scores(
    name: str, source: np.ndarray, candidate: np.ndarray, graph_dtype: str
) -> OutputParity:
    common = _common(name, "scores", source, candidate)
    tolerance = auto_tolerance(source.dtype, candidate.dtype, np.dtype(graph_dtype))
    if source.shape != candidate.shape:
        every = (len(source),) * len(ERROR_THRESHOLDS)
        return OutputParity(**common, auto_tolerance=tolerance, rows_above=every)
    flat = (len(source), prod(source.shape[1:]))
    expected = source.astype(np.float64).reshape(flat)
    found = candidate.astype(np.float64).reshape(flat)
    both_finite = np.isfinite(expected) & np.isfinite(found)
    same_nonfinite = (np.isnan(expected) & np.isnan(found)) | (expected == found)
    mismatched_rows = (~both_finite & ~same_nonfinite).any(axis=1)

    scale = _scale(expected)
    with np.errstate(all="ignore"):
        absolute = np.where(both_finite, np.abs(found - expected), 0.0)
        relative = absolute / np.maximum(np.abs(np.where(both_finite, expected, 1.0)), _TINY)
        scaled = absolute / np.maximum(np.abs(np.where(both_finite, expected, 1.0)), scale)
    relative = np.where(absolute == 0, 0.0, relative)
    per_row = scaled.max(axis=1, initial=0.0)
    per_row[mismatched_rows] = np.inf
    return OutputParity(
        **common,
        max_absolute_error=_largest(absolute),
        p999_absolute_error=_p999(absolute),
        max_relative_error=_largest(relative),
        p999_relative_error=_p999(relative),
        scale=scale,
        auto_tolerance=tolerance,
        nonfinite_mismatches=int(mismatched_rows.sum()),
        rows_above=tuple(int(each) for each in (per_row[:, None] > _THRESHOLDS).sum(axis=0)),
    )


def auto_tolerance(*dtypes: np.dtype) -> float:
    """The tolerance on the scaled error for arithmetic in the coarsest of ``dtypes``."""
    coarsest = max((np.finfo(each).eps for each in dtypes if each.kind == "f"), default=0.0)
    return float(coarsest) * ROUNDINGS


_TINY = np.finfo(np.float64).tiny


def _scale(expected: np.ndarray) -> float:
    """Root mean square of the finite values; 1 where all are zero or none is finite."""
    finite = expected[np.isfinite(expected)]
    if not len(finite):
        return 1.0
    largest = float(np.abs(finite).max())
    if largest == 0:
        return 1.0
    # Divided first, so that squares neither overflow nor vanish.
    return largest * float(np.sqrt(np.mean((finite / largest) ** 2)))


def _largest(errors: np.ndarray) -> float:
    return float(errors.max(initial=0.0))


def _p999(errors: np.ndarray) -> float:
    return float(np.quantile(errors, 0.999)) if errors.size else 0.0


def _common(name: str, kind: str, source: np.ndarray, candidate: np.ndarray) -> dict:
    return {
        "name": name,
        "kind": kind,
        "rows": len(source),
        "source_dtype": str(source.dtype),
        "candidate_dtype": str(candidate.dtype),
        "source_shape": source.shape,
        "candidate_shape": candidate.shape,
    }
