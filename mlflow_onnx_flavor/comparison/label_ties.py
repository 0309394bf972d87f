"""Label ties: rows on which the source scores its two best classes the same.

Rounding then decides the label, in the source as in the candidate, so another label is no error.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from mlflow_onnx_flavor.comparison.tolerance import Rounding, auto_tolerance
from mlflow_onnx_flavor.onnx_graph.precision import Arithmetic

LABELS, SCORES = "label", "probabilities"


def tied_rows(
    expected: Mapping[str, np.ndarray],
    found: Mapping[str, np.ndarray],
    arithmetic: Arithmetic,
    rounding: Rounding | None = None,
) -> np.ndarray | None:
    """Return the rows whose labels differ by a tie, shape (rows,); None if a side has no scores.

    A row is tied where the candidate's best class is another than the source's, the source scores
    both the same within twice the tolerance of the arithmetic (since each score may be off by it),
    and the candidate's label is that class.  The tolerance is that of the arithmetic, never of the
    difference that is judged; ``rounding``: the rounding error of the scores.
    """
    if SCORES not in expected or SCORES not in found:
        return None
    source, candidate = np.asarray(expected[SCORES]), np.asarray(found[SCORES])
    if source.shape != candidate.shape or source.ndim != 2 or source.dtype.kind != "f":
        return None
    scores = source.astype(np.float64)
    rows = np.arange(len(scores))
    best, other = scores.argmax(axis=1), candidate.argmax(axis=1)
    finite = scores[np.isfinite(scores)]
    scale = float(np.sqrt(np.mean(finite**2))) if finite.size else 1.0
    tolerance = auto_tolerance(source.dtype, candidate.dtype, arithmetic, rounding).value
    reach = 2 * tolerance * np.maximum(np.abs(scores[rows, best]), scale)
    tied: np.ndarray = (best != other) & (scores[rows, best] - scores[rows, other] <= reach)
    return tied & _labelled(expected, found, best, other) if tied.any() else tied


def _labelled(
    expected: Mapping[str, np.ndarray],
    found: Mapping[str, np.ndarray],
    best: np.ndarray,
    other: np.ndarray,
) -> np.ndarray:
    """Return where the candidate's label is the source's name for the class ``other``.

    A class has a name only if the source labels some row with it.
    """
    if LABELS not in expected or LABELS not in found or len(found[LABELS]) != len(best):
        return np.ones(len(best), bool)
    called = dict(zip(best.tolist(), np.asarray(expected[LABELS]).tolist(), strict=True))
    labels = np.asarray(found[LABELS]).tolist()
    return np.array(
        [called.get(at, label) == label for at, label in zip(other.tolist(), labels, strict=True)],
        bool,
    )
