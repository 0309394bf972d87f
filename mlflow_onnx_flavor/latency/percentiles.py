"""Percentiles of calls with their intervals, and the ratio of two models' percentiles.

A high percentile has too few calls beyond it in one round to be computed round by round, as the
ratio of medians is (`statistics.speedup`).  So the calls of all rounds are pooled, and the
bootstrap draws rounds, the same ones for both models; interval and widening are as in `speedup`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from mlflow_onnx_flavor.latency.statistics import outward_tail, widening
from mlflow_onnx_flavor.schemas.evidence import Interval

RESAMPLES = 1000
SEED = 20260102
# Only rounds with calls beyond a percentile determine it; fewer than this are too few to trust.
FEWEST_ROUNDS = 8
# Calls are counted in bins of this relative width; within a bin they are taken as evenly spread.
_BIN = 0.004

Blocks = Sequence[np.ndarray]  # nanoseconds of each call, one array for each round


def percentile_intervals(
    blocks: Blocks, percents: Sequence[float], confidence: float
) -> dict[float, Interval]:
    """Return one model's percentiles in milliseconds; omit those with too few calls beyond them."""
    found = {}
    for percent in percents:
        whole, rounds = _pooled(blocks, percent)
        if rounds >= FEWEST_ROUNDS:
            drawn = _Counted(blocks).percentiles(percent, _draws(len(blocks)))
            by_round = np.log([np.median(each) for each in blocks])
            found[percent] = _interval(whole / 1e6, drawn / 1e6, rounds, by_round, confidence)
    return found


def percentile_ratio(
    baseline: Blocks, candidate: Blocks, percent: float, confidence: float
) -> Interval | None:
    """Return baseline percentile over candidate percentile; None if calls or rounds are too few.

    Times are divided by what the two models' medians share in each round: otherwise a spell in
    which everything is slow would determine both percentiles alone.
    """
    baseline, candidate = _without_what_rounds_share(baseline, candidate)
    (above, rounds), (below, others) = (_pooled(each, percent) for each in (baseline, candidate))
    rounds = min(rounds, others)
    if rounds < FEWEST_ROUNDS:
        return None
    draws = _draws(len(baseline))
    drawn = _Counted(baseline).percentiles(percent, draws)
    drawn /= _Counted(candidate).percentiles(percent, draws)
    medians = [[np.median(each) for each in blocks] for blocks in (baseline, candidate)]
    by_round = np.subtract(*np.log(medians))
    return _interval(above / below, drawn, rounds, by_round, confidence)


def _without_what_rounds_share(
    baseline: Blocks, candidate: Blocks
) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Return times over the geometric mean of the two medians of their round, scaled back."""
    medians = np.array([[np.median(each) for each in blocks] for blocks in (baseline, candidate)])
    shared = np.sqrt(medians.prod(axis=0))
    scales = np.median(shared) / shared
    return (
        [each * scale for each, scale in zip(baseline, scales, strict=True)],
        [each * scale for each, scale in zip(candidate, scales, strict=True)],
    )


class _Counted:
    """Calls of each round, counted in bins of equal width on a logarithmic scale."""

    def __init__(self, blocks: Blocks):
        logs = [np.log(np.maximum(each, 1)) / _BIN for each in blocks]
        self._first = math.floor(min(each.min() for each in logs))
        bins = math.floor(max(each.max() for each in logs)) - self._first + 1
        self._counts = np.stack(
            [np.bincount((each - self._first).astype(int), minlength=bins) for each in logs]
        ).astype(np.float32)

    def percentiles(self, percent: float, draws: np.ndarray) -> np.ndarray:
        """Return nanoseconds for each row of ``draws``, which counts how often a round is drawn."""
        cumulative = np.cumsum(draws @ self._counts, axis=1, dtype=np.float64)
        wanted = percent / 100 * cumulative[:, -1:]
        at = np.argmax(cumulative >= wanted, axis=1)
        rows = np.arange(len(draws))
        before = np.where(at > 0, cumulative[rows, at - 1], 0.0)
        within = (wanted[:, 0] - before) / (cumulative[rows, at] - before)
        return np.exp((self._first + at + within) * _BIN)


def _draws(rounds: int) -> np.ndarray:
    """Return how often each round is drawn in each resample, shape (RESAMPLES, rounds)."""
    chosen = np.random.default_rng(SEED).integers(0, rounds, (RESAMPLES, rounds))
    draws = np.zeros((RESAMPLES, rounds), np.float32)
    np.add.at(draws, (np.arange(RESAMPLES)[:, None], chosen), 1)
    return draws


def _pooled(blocks: Blocks, percent: float) -> tuple[float, int]:
    """Return the percentile of all calls in nanoseconds, and a number of rounds.

    It counts the rounds that have calls beyond the percentile.
    """
    calls = np.concatenate(blocks)
    value = float(np.percentile(calls, percent)) if len(calls) > 1 else math.inf
    return value, sum(bool((each > value).any()) for each in blocks)


def _interval(
    estimate: float, drawn: np.ndarray, rounds: int, by_round: np.ndarray, confidence: float
) -> Interval:
    """Return the bootstrap interval of a percentile.

    ``rounds``: the number of rounds that have calls beyond it, which is the effective sample size;
    ``by_round``: a logarithm for each round, which shows how far a round resembles the one before.
    """
    tail = outward_tail(confidence, rounds)
    reach = np.log(np.quantile(drawn, (tail, 1 - tail)) / estimate) * widening(by_round)
    return Interval(
        estimate=estimate,
        low=estimate * math.exp(min(float(reach[0]), 0.0)),
        high=estimate * math.exp(max(float(reach[1]), 0.0)),
        confidence=confidence,
    )
