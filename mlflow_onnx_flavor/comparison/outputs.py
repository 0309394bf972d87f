"""Compare one output of source and candidate, row by row; the result is `OutputParity`."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
import pandas as pd

from mlflow_onnx_flavor.comparison.distributions import distances
from mlflow_onnx_flavor.comparison.tolerance import AutoTolerance, Rounding, auto_tolerance
from mlflow_onnx_flavor.onnx_graph.precision import Arithmetic
from mlflow_onnx_flavor.schemas.evidence import ERROR_THRESHOLDS, OutputParity

FLOAT32 = Arithmetic()

_THRESHOLDS = np.array(ERROR_THRESHOLDS)
_TINY = np.finfo(np.float64).tiny
# Integers beyond this are not all float64 numbers.
_EXACT_INTEGERS = 2**53


def compare_outputs(
    name: str,
    source: np.ndarray,
    candidate: np.ndarray,
    arithmetic: Arithmetic = FLOAT32,
    rounding: Rounding | None = None,
    tied: np.ndarray | None = None,
    scale: float | None = None,
) -> OutputParity:
    """Compare one output of source and candidate, arrays of shape (rows, ...) on the same rows.

    ``arithmetic``: what the candidate's graph computes with; ``rounding``: the source's own
    rounding error, if it is known.  Integers, booleans and text are labels and must be equal by
    value; floats are scores.  ``tied``: the rows, of shape (rows,), whose two best classes the
    source scores the same, from `label_ties.tied_rows`.  Relative errors are computed on elements
    whose source is not 0.  ``scale``: that of the whole output, if these are some of its rows;
    None to compute it from these rows.
    """
    source, candidate = np.asarray(source), np.asarray(candidate)
    if _is_label(source) or _is_label(candidate):
        return _compare_labels(name, source, candidate, tied)
    tolerance = auto_tolerance(source.dtype, candidate.dtype, arithmetic, rounding)
    return _compare_scores(name, source, candidate, tolerance, rounding, scale)


def error_by_row(source: np.ndarray, candidate: np.ndarray) -> np.ndarray:
    """Return the largest scaled error of each row, shape (rows,).

    It is infinite where a label differs, where only one of the two is NaN or infinite, or where the
    shapes differ; it is 0 for labels that are equal.
    """
    source, candidate = np.asarray(source), np.asarray(candidate)
    if source.shape != candidate.shape:
        return np.full(_rows(source), np.inf)
    if _is_label(source) or _is_label(candidate):
        unequal = np.asarray(_unequal(source, candidate).reshape(_flat(source)).any(axis=1))
        return np.where(unequal, np.inf, 0.0)
    return _errors(source, candidate).by_row


def scaled_errors(source: np.ndarray, candidate: np.ndarray) -> np.ndarray:
    """Return `OutputParity`'s scaled error of every element, shape (rows, elements of a row).

    It is 0 where one of the two is not finite.  Both arrays have the same shape.
    """
    return _errors(np.asarray(source), np.asarray(candidate)).scaled


def _is_label(array: np.ndarray) -> bool:
    return array.dtype.kind in "OUSbiu"


def _compare_labels(
    name: str, source: np.ndarray, candidate: np.ndarray, tied: np.ndarray | None
) -> OutputParity:
    common = _common(name, "labels", source, candidate)
    if source.shape != candidate.shape:
        return OutputParity(**common, label_disagreements=common["rows"])
    unequal = np.asarray(_unequal(source, candidate).reshape(_flat(source)).any(axis=1))
    excused = np.zeros_like(unequal)
    if tied is not None and len(tied) == len(unequal):
        excused = unequal & tied
    return OutputParity(
        **common,
        label_disagreements=int((unequal & ~excused).sum()),
        label_ties=int(excused.sum()),
    )


def _unequal(source: np.ndarray, candidate: np.ndarray) -> np.ndarray:
    """Return where labels differ by value.

    1 equals 1.0 and True, but never "1"; a missing value (None, NaN or NA) equals any other.
    """
    if _compares_exactly(source, candidate) or (_is_text(source) and _is_text(candidate)):
        return np.asarray(source != candidate)
    source, candidate = _objects(source), _objects(candidate)
    missing, missing_too = np.asarray(pd.isna(source)), np.asarray(pd.isna(candidate))
    unequal: np.ndarray = missing != missing_too
    present = ~(missing | missing_too)
    unequal[present] = source[present] != candidate[present]
    return unequal


def _compares_exactly(source: np.ndarray, candidate: np.ndarray) -> bool:
    """Return whether numpy's own comparison is by value.

    It is not for text, nor where an integer would be rounded to compare it with a float.
    """
    kinds = {source.dtype.kind, candidate.dtype.kind}
    if kinds & set("OUS"):
        return False
    if "f" not in kinds:
        return True
    integers = candidate if source.dtype.kind == "f" else source
    return integers.dtype.kind == "b" or not _has_inexact(integers)


def _is_text(array: np.ndarray) -> bool:
    """Return whether every element is a `str`; this is quick to check."""
    return array.dtype == object and pd.api.types.infer_dtype(array, skipna=False) == "string"


def _has_inexact(integers: np.ndarray) -> bool:
    return bool(((integers > _EXACT_INTEGERS) | (integers < -_EXACT_INTEGERS)).any())


def _objects(array: np.ndarray) -> np.ndarray:
    """Return one axis of Python objects, with bytes as text: TensorFlow's strings are bytes."""
    flat = array.astype(object).ravel()
    for position, each in enumerate(flat):
        if isinstance(each, bytes):
            flat[position] = each.decode(errors="replace")
    return flat


def _compare_scores(
    name: str,
    source: np.ndarray,
    candidate: np.ndarray,
    tolerance: AutoTolerance,
    rounding: Rounding | None,
    scale: float | None,
) -> OutputParity:
    common = _common(name, "scores", source, candidate) | {
        "auto_tolerance": tolerance.value,
        "tolerance_from": tolerance.basis,
        "source_rounding": rounding.error if rounding else 0.0,
    }
    if source.shape != candidate.shape:
        return OutputParity(**common, rows_above=(common["rows"],) * len(ERROR_THRESHOLDS))
    errors = _errors(source, candidate, scale)
    return OutputParity(
        **common,
        max_absolute_error=_largest(errors.absolute),
        p999_absolute_error=_p999(errors.absolute),
        max_relative_error=_largest(errors.relative),
        p999_relative_error=_p999(errors.relative),
        scale=errors.scale,
        nonfinite_mismatches=int(errors.mismatched_rows.sum()),
        rows_above=_rows_above(errors.by_row),
        **distances(source, candidate),
    )


@dataclass(frozen=True)
class _Errors:
    """Errors of every element, shape (rows, elements of a row); 0 where either is not finite.

    ``mismatched_rows``, shape (rows,): rows where only one of the two is NaN or infinite.
    """

    absolute: np.ndarray
    relative: np.ndarray
    scaled: np.ndarray
    scale: float
    mismatched_rows: np.ndarray

    @property
    def by_row(self) -> np.ndarray:
        largest = self.scaled.max(axis=1, initial=0.0)
        return np.where(self.mismatched_rows, np.inf, largest)


def _errors(source: np.ndarray, candidate: np.ndarray, scale: float | None = None) -> _Errors:
    expected = source.astype(np.float64).reshape(_flat(source))
    found = candidate.astype(np.float64).reshape(_flat(source))
    both_finite = np.isfinite(expected) & np.isfinite(found)
    same_nonfinite = (np.isnan(expected) & np.isnan(found)) | (expected == found)
    scale = _scale(expected) if scale is None else scale
    magnitude = np.abs(np.where(both_finite, expected, 1.0))
    with np.errstate(all="ignore"):
        absolute = np.where(both_finite, np.abs(found - expected), 0.0)
        relative = np.where(magnitude > 0, absolute / np.maximum(magnitude, _TINY), 0.0)
        scaled = absolute / np.maximum(magnitude, scale)
    mismatched_rows = (~both_finite & ~same_nonfinite).any(axis=1)
    return _Errors(absolute, relative, scaled, scale, mismatched_rows)


def _rows_above(per_row: np.ndarray) -> tuple[int, ...]:
    """Return, for each threshold, how many values of ``per_row`` are above it."""
    not_above = np.searchsorted(np.sort(per_row), _THRESHOLDS, side="right")
    return tuple(int(len(per_row) - each) for each in not_above)


def _scale(expected: np.ndarray) -> float:
    """Return the root mean square of the finite values; 1 if all are zero or none is finite."""
    finite = expected[np.isfinite(expected)]
    if not len(finite):
        return 1.0
    largest = float(np.abs(finite).max())
    if largest == 0:
        return 1.0
    # Divided by the largest first, so that squares neither overflow nor underflow.
    return largest * float(np.sqrt(np.mean((finite / largest) ** 2)))


def _largest(errors: np.ndarray) -> float:
    return float(errors.max(initial=0.0))


def _p999(errors: np.ndarray) -> float:
    """Return the 99.9th percentile as an observed error: interpolating infinities gives NaN."""
    return float(np.quantile(errors, 0.999, method="higher")) if errors.size else 0.0


def _flat(array: np.ndarray) -> tuple[int, int]:
    return _rows(array), prod(array.shape[1:])


def _rows(array: np.ndarray) -> int:
    """Return the number of rows; a bare scalar is one row."""
    return len(array) if array.ndim else 1


def _common(name: str, kind: str, source: np.ndarray, candidate: np.ndarray) -> dict[str, Any]:
    return {
        "name": name,
        "kind": kind,
        "rows": _rows(source),
        "source_dtype": str(source.dtype),
        "candidate_dtype": str(candidate.dtype),
        "source_shape": source.shape,
        "candidate_shape": candidate.shape,
    }
