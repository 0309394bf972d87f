"""Distances that fit the use of scores: divergence of distributions, cosine of embeddings."""

from __future__ import annotations

import numpy as np

# A row of this many numbers or more may be an embedding; shorter rows are compared number by
# number.
_LEAST_DIMENSIONS = 8
_SUMS_TO_ONE = 1e-3


def distances(source: np.ndarray, candidate: np.ndarray) -> dict[str, float]:
    """Return the fields of `OutputParity` that are meaningful for the two outputs.

    Both must have shape (rows, columns), else the result is empty.  If every row of the source is a
    distribution: ``max_divergence``, the largest Jensen-Shannon divergence of a row, in nats (Lin,
    Divergence Measures Based on the Shannon Entropy, IEEE Transactions on Information Theory 37,
    1991), and ``max_confidence_shift``, the largest change in the probability of the source's
    class, which affects calibration.  Otherwise, for rows of 8 numbers or more, ``min_cosine``.
    """
    if source.shape != candidate.shape or source.ndim != 2 or source.shape[1] < 2:
        return {}
    expected, found = source.astype(np.float64), candidate.astype(np.float64)
    usable = np.isfinite(expected).all(axis=1) & np.isfinite(found).all(axis=1)
    expected, found = expected[usable], found[usable]
    if not len(expected):
        return {}
    if _are_distributions(expected):
        best = expected.argmax(axis=1)[:, None]
        shift = np.take_along_axis(found, best, 1) - np.take_along_axis(expected, best, 1)
        return {
            "max_divergence": float(_divergence(expected, found).max()),
            "max_confidence_shift": float(np.abs(shift).max()),
        }
    if source.shape[1] < _LEAST_DIMENSIONS:
        return {}
    lengths = np.linalg.norm(expected, axis=1) * np.linalg.norm(found, axis=1)
    pointing = lengths > 0
    if not pointing.any():
        return {}
    products = (expected[pointing] * found[pointing]).sum(axis=1)
    return {"min_cosine": float((products / lengths[pointing]).min())}


def _are_distributions(rows: np.ndarray) -> bool:
    return bool((rows >= 0).all() and (np.abs(rows.sum(axis=1) - 1) < _SUMS_TO_ONE).all())


def _divergence(expected: np.ndarray, found: np.ndarray) -> np.ndarray:
    found = np.clip(found, 0, None)
    middle = (expected + found) / 2
    with np.errstate(divide="ignore", invalid="ignore"):
        parts = [
            np.where(each > 0, each * np.log(each / middle), 0.0) for each in (expected, found)
        ]
    whole: np.ndarray = np.clip(sum(part.sum(axis=1) for part in parts) / 2, 0, None)
    return whole
