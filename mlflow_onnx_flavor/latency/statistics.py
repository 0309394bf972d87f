"""Statistics of latency: quantiles of one model, the ratio of two models with its interval."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from mlflow_onnx_flavor.schemas.configuration import LatencyGate
from mlflow_onnx_flavor.schemas.evidence import Interval, LatencyFigures

RESAMPLES = 2000
SEED = 20260101
# Two models whose times differ by less than this are equally fast for any practical purpose.
FINEST_HALF_WIDTH = 0.015
# The same model in two processes is not equally fast in both (memory placement, which threads
# share a core), and no number of rounds shows it.  This is the standard deviation of the logarithm
# of their ratio, over 400 pairs in `benchmarks.latency_verdicts`, less what the rounds do show.
BETWEEN_PROCESSES = 0.007
MIN_ROUNDS = 2  # one ratio has no interval
# A median of fewer rounds than this cannot leave the range of its sample often enough: between the
# smallest and the largest of five lies the true median in 94 % of samples, of two in half of them.
_MIN_BOOTSTRAP_ROUNDS = 6
_MAX_CORRELATION = 0.7  # with few rounds an estimate above this is mostly chance
# Every look at the intervals is a chance to stop at a lucky one, so looks are few: the first after
# this many rounds, the next whenever their number has grown by this factor.
_FIRST_LOOK_ROUNDS, _LOOK_GROWTH = 8, 1.4


@dataclass(frozen=True)
class Precision:
    """The precision at which a speed-up is known well enough to stop measuring.

    ``half_width``: half of the interval as a share of the estimate that is enough in any case.
    ``clear_half_width``: enough if the estimate is at least `CLEARANCE` half-widths away from each
    of ``decisive``, the speed-ups at which somebody will decide (1 separates faster from slower).
    ``decisive_of``: these thresholds for one baseline, "source" or "champion", if a gate sets them;
    an interval that spans one of them is measured on until its half is ``finest_half_width``.
    ``decisive_tail_of``: the same for the ratio of 99th percentiles.  ``budgets_ms``: by percent,
    the limit that a percentile of the candidate is judged against.
    """

    half_width: float = 0.03
    clear_half_width: float = 0.10
    decisive: tuple[float, ...] = (1.0,)
    decisive_of: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    decisive_tail_of: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    budgets_ms: Mapping[float, float] = field(default_factory=dict)
    finest_half_width: float = 1.0

    CLEARANCE = 3.0

    @classmethod
    def for_gate(cls, gate: LatencyGate) -> Precision:
        """Return the precision that ``gate`` needs to decide, and no more."""
        thresholds = {"source": (gate.min_speedup,), "champion": (1 - gate.max_regression,)}
        tails = {
            "source": () if gate.min_p99_speedup is None else (gate.min_p99_speedup,),
            "champion": () if gate.max_p99_regression is None else (1 - gate.max_p99_regression,),
        }
        budgets_ms = {50: gate.p50_ms, 90: gate.p90_ms, 99: gate.p99_ms}
        return cls(
            decisive_of=thresholds,
            decisive_tail_of=tails,
            budgets_ms={percent: each for percent, each in budgets_ms.items() if each is not None},
            finest_half_width=FINEST_HALF_WIDTH,
        )

    def against(self, baseline: str) -> Precision:
        """Return the precision that is enough for ratios to that baseline."""
        return replace(self, decisive=self.decisive_of.get(baseline, self.decisive))

    def is_open(self, interval: Interval) -> bool:
        """Return whether the interval leaves a decision open that more measuring may settle."""
        return any(self.spans(interval, each) for each in self.decisive)

    def spans(self, interval: Interval | None, threshold: float) -> bool:
        """Return whether the interval leaves one threshold open; None (too few calls) does."""
        if interval is None:
            return True
        if relative_half_width(interval) <= self.finest_half_width:
            return False
        return interval.low < threshold <= interval.high

    def reached(self, interval: Interval) -> bool:
        """Return whether the interval is precise enough to stop measuring."""
        width = relative_half_width(interval)
        if self.is_open(interval):
            return False
        if width <= self.half_width:
            return True
        return width <= self.clear_half_width and all(
            abs(interval.estimate - each) >= self.CLEARANCE * width * interval.estimate
            for each in self.decisive
        )


def looks() -> Iterator[int]:
    """Yield the numbers of rounds after which to check whether the intervals are precise enough."""
    rounds = _FIRST_LOOK_ROUNDS
    while True:
        yield rounds
        rounds = math.ceil(rounds * _LOOK_GROWTH)


def figures(
    times_ns: np.ndarray, batch_size: int, intervals: Mapping[str, Interval] | None = None
) -> LatencyFigures:
    """Return quantiles and throughput of single calls.

    ``times_ns``: nanoseconds, shape (calls,).
    """
    times_ms = np.asarray(times_ns, dtype=np.float64) / 1e6
    p50, p90, p99 = np.quantile(times_ms, (0.5, 0.9, 0.99))
    return LatencyFigures(
        calls=len(times_ms),
        p50_ms=float(p50),
        p90_ms=float(p90),
        p99_ms=float(p99),
        throughput_rows_per_second=float(batch_size * len(times_ms) / (times_ms.sum() / 1e3)),
        histogram_ms=tuple(float(each) for each in np.quantile(times_ms, np.linspace(0, 1, 101))),
        intervals=dict(intervals or {}),
    )


def speedup(
    baseline_ns: Sequence[np.ndarray], candidate_ns: Sequence[np.ndarray], confidence: float
) -> Interval:
    """Return baseline time over candidate time, with its interval.

    The arguments hold one array of call times for each round, in the order of the rounds, at least
    two: what a round shares (a busy neighbour, a clock that changes) cancels in its ratio of
    medians.  The estimate is the median of these ratios.  The interval is the percentile bootstrap
    over rounds, which keeps the calls of a round together (Efron and Tibshirani, An Introduction to
    the Bootstrap, 1993, chapters 8 and 13), with its percentiles moved outwards by Student's t and
    n / (n - 1) since it is too narrow for small samples (Hesterberg, What Teachers Should Know
    About the Bootstrap, The American Statistician 69, 2015, section 4.1.3).  If rounds resemble the
    one before, since a neighbour stays for a while, the effective sample is smaller, and the
    interval is widened accordingly (Zwiers and von Storch, Journal of Climate 8, 1995, section 2).
    Fewer than six rounds get Student's interval of the logarithms.  The bootstrap is seeded: the
    same times give the same interval.
    """
    logs = [
        math.log(np.median(baseline) / np.median(candidate))
        for baseline, candidate in zip(baseline_ns, candidate_ns, strict=True)
    ]
    return ratio_of_logs(np.array(logs), confidence)


def ratio_of_logs(logs: np.ndarray, confidence: float) -> Interval:
    """Return the ratio whose logarithm each round observed, in their order: see `speedup`."""
    if len(logs) < MIN_ROUNDS:
        raise ValueError(f"an interval needs {MIN_ROUNDS} rounds, not {len(logs)}")
    interval = _student if len(logs) < _MIN_BOOTSTRAP_ROUNDS else _bootstrap
    low, high = interval(logs, confidence)
    estimate = float(np.median(logs))
    return Interval(
        estimate=math.exp(estimate),
        low=math.exp(min(low, estimate)),
        high=math.exp(max(high, estimate)),
        confidence=confidence,
    )


def between_processes(interval: Interval) -> Interval:
    """Widen the interval to cover new processes of the same models, not these two alone."""
    from scipy.special import ndtri

    process = float(ndtri((1 + interval.confidence) / 2)) * BETWEEN_PROCESSES
    below = math.hypot(math.log(interval.estimate / interval.low), process)
    above = math.hypot(math.log(interval.high / interval.estimate), process)
    return interval.model_copy(
        update={
            "low": interval.estimate * math.exp(-below),
            "high": interval.estimate * math.exp(above),
        }
    )


def relative_half_width(interval: Interval) -> float:
    """Return how far the interval reaches from its estimate, as a share of the estimate."""
    return (interval.high - interval.low) / 2 / interval.estimate


def outward_tail(confidence: float, n: int) -> float:
    """Return the share of bootstrap draws on each side of the interval, for a sample of ``n``."""
    from scipy.special import ndtr

    return float(ndtr(-math.sqrt(n / (n - 1)) * _student_quantile(confidence, n - 1)))


def _bootstrap(values: np.ndarray, confidence: float) -> tuple[float, float]:
    n = len(values)
    chosen = np.random.default_rng(SEED).integers(0, n, (RESAMPLES, n))
    medians = np.median(values[chosen], axis=1)
    tail = outward_tail(confidence, n)
    low, high = np.quantile(medians, (tail, 1 - tail))
    estimate, wider = float(np.median(values)), widening(values)
    # Widened, but not past what any round showed: with six rounds or more, the smallest and the
    # largest ratio enclose the true median in 97 % of samples.
    low = max(estimate - (estimate - low) * wider, float(values.min()))
    high = min(estimate + (high - estimate) * wider, float(values.max()))
    return low, high


def widening(values: np.ndarray) -> float:
    """Return the square root of the number of rounds over their effective number.

    The effective number comes from the correlation of each round with the next, computed on ranks
    since one outlier would hide it, and corrected for its bias of -1/n.
    """
    n = len(values)
    if np.ptp(values) == 0:
        return 1.0
    ranks = np.argsort(np.argsort(values)) - (n - 1) / 2
    correlation = float((ranks[1:] * ranks[:-1]).sum() / (ranks**2).sum()) + 1 / n
    correlation = min(max(correlation, 0.0), _MAX_CORRELATION)
    return math.sqrt((1 + correlation) / (1 - correlation))


def _student(values: np.ndarray, confidence: float) -> tuple[float, float]:
    n = len(values)
    reach = _student_quantile(confidence, n - 1) * float(values.std(ddof=1)) / math.sqrt(n)
    centre = float(values.mean())
    return centre - reach, centre + reach


def _student_quantile(confidence: float, degrees: int) -> float:
    """Return the two-sided quantile of Student's t distribution."""
    from scipy.special import stdtrit  # takes a quarter of a second to import

    return float(stdtrit(degrees, (1 + confidence) / 2))
