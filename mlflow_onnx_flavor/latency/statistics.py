"""From times to figures: quantiles of one model, the ratio of two with its interval."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mlflow_onnx_flavor.evidence import Interval, LatencyFigures

RESAMPLES = 2000
SEED = 20260101


def figures(times_ns: np.ndarray, batch_size: int) -> LatencyFigures:
    """Quantiles and throughput of single calls; ``times_ns``: nanoseconds, shape (calls,)."""
    times_ms = np.asarray(times_ns, dtype=np.float64) / 1e6
    p50, p90, p99 = np.quantile(times_ms, (0.5, 0.9, 0.99))
    return LatencyFigures(
        calls=len(times_ms),
        p50_ms=float(p50),
        p90_ms=float(p90),
        p99_ms=float(p99),
        throughput_rows_per_second=float(batch_size * len(times_ms) / (times_ms.sum() / 1e3)),
        histogram_ms=tuple(float(each) for each in np.quantile(times_ms, np.linspace(0, 1, 101))),
    )


def speedup(
    baseline_ns: Sequence[np.ndarray], candidate_ns: Sequence[np.ndarray], confidence: float
) -> Interval:
    """Baseline time over candidate time, with its interval.

    The arguments hold one array of call times a round, in the order of the rounds: what a round
    shares (a busy neighbour, a clock that changes) cancels in its ratio of medians.  The estimate
    is the median of these ratios; the interval is the percentile bootstrap over rounds, which keeps
    the calls of a round together (Efron and Tibshirani, An Introduction to the Bootstrap, 1993,
    chapters 8 and 13).  Seeded, so that the same times give the same interval.
    """
    ratios = np.array(
        [
            np.median(baseline) / np.median(candidate)
            for baseline, candidate in zip(baseline_ns, candidate_ns, strict=True)
        ]
    )
    generator = np.random.default_rng(SEED)
    chosen = generator.integers(0, len(ratios), (RESAMPLES, len(ratios)))
    medians = np.median(ratios[chosen], axis=1)
    tail = (1 - confidence) / 2
    low, high = np.quantile(medians, (tail, 1 - tail))
    return Interval(
        estimate=float(np.median(ratios)), low=float(low), high=float(high), confidence=confidence
    )


def relative_half_width(interval: Interval) -> float:
    """How far the interval reaches from its estimate, as a share of it."""
    return (interval.high - interval.low) / 2 / interval.estimate
