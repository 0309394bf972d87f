"""Percentiles of calls with their intervals, and the ratio of two models' percentiles.

A percentile far out has too few calls beyond it in one round to be taken round by round, as the
ratio of medians is (`statistics.speedup`).  So calls of all rounds are pooled, and the bootstrap
draws rounds, the same ones of both models; interval and widening are as there.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from mlflow_onnx_flavor.latency.statistics import outward_tail, widening
from mlflow_onnx_flavor.schemas.evidence import Interval

RESAMPLES = 1000
SEED = 20260102
# A percentile is made by the rounds with calls beyond it; fewer than this say nothing of others.
FEWEST_ROUNDS = 8
# Calls are counted in bins of this width, as a share of their time; within one they are even.
_BIN = 0.004

Blocks = Sequence[np.ndarray]  # nanoseconds of each call, an array a round


def percentile_intervals(
    blocks: Blocks, percents: Sequence[float], confidence: float
) -> dict[float, Interval]:
    """Of one model, in milliseconds; a percentile that has too few calls beyond it is left out."""
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
    """Baseline percentile over candidate percentile; None where calls or rounds are too few.

    Times are taken relative to what the two models' medians have in common in their round: a spell
    in which everything is slow would otherwise make both percentiles alone.
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
    """Times over the geometric mean of the two medians of their round, brought back to its size."""
    medians = np.array([[np.median(each) for each in blocks] for blocks in (baseline, candidate)])
    shared = np.sqrt(medians.prod(axis=0))
    scales = np.median(shared) / shared
    return (
        [each * scale for each, scale in zip(baseline, scales, strict=True)],
        [each * scale for each, scale in zip(candidate, scales, strict=True)],
    )


class _Counted:
    """The calls of each round, counted in bins of equal width on a logarithmic scale."""

    def __init__(self, blocks: Blocks):
        logs = [np.log(np.maximum(each, 1)) / _BIN for each in blocks]
        self._first = math.floor(min(each.min() for each in logs))
        bins = math.floor(max(each.max() for each in logs)) - self._first + 1
        self._counts = np.stack(
            [np.bincount((each - self._first).astype(int), minlength=bins) for each in logs]
        ).astype(np.float32)

    def percentiles(self, percent: float, draws: np.ndarray) -> np.ndarray:
        """Nanoseconds, one for each row of ``draws``, which says how often each round is taken."""
        cumulative = np.cumsum(draws @ self._counts, axis=1, dtype=np.float64)
        wanted = percent / 100 * cumulative[:, -1:]
        at = np.argmax(cumulative >= wanted, axis=1)
        rows = np.arange(len(draws))
        before = np.where(at > 0, cumulative[rows, at - 1], 0.0)
        within = (wanted[:, 0] - before) / (cumulative[rows, at] - before)
        return np.exp((self._first + at + within) * _BIN)


def _draws(rounds: int) -> np.ndarray:
    """How often each round is taken in each resample, shape (RESAMPLES, rounds)."""
    chosen = np.random.default_rng(SEED).integers(0, rounds, (RESAMPLES, rounds))
    draws = np.zeros((RESAMPLES, rounds), np.float32)
    np.add.at(draws, (np.arange(RESAMPLES)[:, None], chosen), 1)
    return draws


def _pooled(blocks: Blocks, percent: float) -> tuple[float, int]:
    """The percentile of all calls in nanoseconds, and how many rounds have calls beyond it."""
    calls = np.concatenate(blocks)
    value = float(np.percentile(calls, percent)) if len(calls) > 1 else math.inf
    return value, sum(bool((each > value).any()) for each in blocks)


def _interval(
    estimate: float, drawn: np.ndarray, rounds: int, by_round: np.ndarray, confidence: float
) -> Interval:
    """``rounds``: those that make the percentile, which are what the sample is worth; ``by_round``:
    a logarithm of each round, to see how much rounds resemble the one before.
    """
    tail = outward_tail(confidence, rounds)
    reach = np.log(np.quantile(drawn, (tail, 1 - tail)) / estimate) * widening(by_round)
    return Interval(
        estimate=estimate,
        low=estimate * math.exp(min(float(reach[0]), 0.0)),
        high=estimate * math.exp(max(float(reach[1]), 0.0)),
        confidence=confidence,
    )
