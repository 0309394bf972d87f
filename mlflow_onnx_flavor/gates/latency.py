"""The latency gates: faster than the source, no slower than the champion, within the budgets."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from math import ceil

from mlflow_onnx_flavor.formatting import numbers
from mlflow_onnx_flavor.schemas.configuration import LatencyGate
from mlflow_onnx_flavor.schemas.evidence import (
    ExecutionProvider,
    Interval,
    LatencyFigures,
    LatencyReport,
    LatencyRow,
)
from mlflow_onnx_flavor.schemas.verdict import NOT_ENOUGH, Finding, measured_on, rows_of

# Largest ratio of an interval's width to its distance from the threshold at which more time is
# suggested: the time needed grows with the square of this ratio.
_HOPELESS = 10.0
# Factor on the time that would suffice on average.
_MARGIN = 1.5


def judge_latency(report: LatencyReport, gate: LatencyGate) -> tuple[Finding, ...]:
    """Return the findings of the latency gate for every row of a report."""
    return tuple(
        finding
        for name, provider in measured_on(report.rows)
        for finding in findings_on_latency(
            name, provider, rows_of(report.rows, name, provider), gate, report.measuring_seconds
        )
    )


def is_undecided(report: LatencyReport, gate: LatencyGate) -> bool:
    """Return whether more measuring may decide a gate that this evidence leaves open."""
    return any(each.reason.startswith(NOT_ENOUGH) for each in judge_latency(report, gate))


def is_judged(row: LatencyRow) -> bool:
    """Return whether the gates judge the row.

    They judge the candidate as it is served: through its pyfunc, with its own number of threads.
    Other rows are only shown beside it.
    """
    return row.path == "pyfunc" and row.threads is None


def findings_on_latency(
    candidate: str,
    provider: ExecutionProvider,
    rows: Sequence[LatencyRow],
    gate: LatencyGate,
    seconds: float,
) -> Iterator[Finding]:
    """Yield the findings of one candidate on one provider, for each sequence length and batch size.

    ``seconds``: the time that was spent measuring.
    """
    rows = [row for row in rows if is_judged(row)]
    lengths = list(dict.fromkeys(row.sequence_length for row in rows)) or [None]
    for length in lengths:
        for batch_size in gate.batch_sizes:
            at_workload = {
                row.baseline: row
                for row in rows
                if (row.batch_size, row.sequence_length) == (batch_size, length)
            }

            finding = partial(
                _finding, candidate, provider, batch_size=batch_size, sequence_length=length
            )
            yield from _at_workload(at_workload, gate, seconds, finding)


def _finding(
    candidate: str,
    provider: ExecutionProvider,
    gate: str,
    passed: bool,
    measured: str,
    required: str,
    reason: str,
    **workload: int | None,
) -> Finding:
    return Finding(
        gate=gate,
        candidate=candidate,
        execution_provider=str(provider),
        passed=passed,
        measured=measured,
        required=required,
        reason=reason,
        **workload,
    )


def _at_workload(
    rows: dict[str, LatencyRow], gate: LatencyGate, seconds: float, finding: Callable[..., Finding]
) -> Iterator[Finding]:
    source, champion = rows.get("source"), rows.get("champion")
    ratio = source.speedup if source else None
    yield finding("latency", *_at_least(ratio, source, gate.min_speedup, seconds))
    if gate.min_p99_speedup is not None:
        tail = source.p99_speedup if source else None
        least = gate.min_p99_speedup
        yield finding("p99 latency", *_at_least(tail, source, least, seconds, "at p99 "))
    if champion is not None:
        least = 1 - gate.max_regression
        yield finding("regression", *_at_least(champion.speedup, champion, least, seconds))
        if gate.max_p99_regression is not None:
            least = 1 - gate.max_p99_regression
            tail = champion.p99_speedup
            yield finding("p99 regression", *_at_least(tail, champion, least, seconds, "at p99 "))
    measured = source.candidate_figures if source else None
    for name in ("p50", "p90", "p99"):
        budget_ms = getattr(gate, f"{name}_ms")
        if budget_ms is not None and measured is not None:
            yield finding(name, *_within(measured, name, budget_ms, seconds))


def _at_least(
    ratio: Interval | None, row: LatencyRow | None, least: float, seconds: float, what: str = ""
) -> tuple[bool, str, str, str]:
    """Return passed, measured, required and reason of a ratio that must be at least ``least``.

    The whole interval must be; the lower end decides.
    """
    passed, measured, required, reason = False, "not measured", numbers.ratio(least), ""
    if row is not None and ratio is not None:
        passed = ratio.low >= least
        speedup, required = numbers.interval_apart(ratio, least)
        measured = f"{what}{speedup} times as fast as the {row.baseline}"
        if not passed and ratio.high >= least:
            reason = f"{NOT_ENOUGH}: {_would_be_enough(ratio, least, seconds)}"
    elif row is not None and row.status == "measured":
        reason = f"{NOT_ENOUGH}: {row.rounds} rounds are too few; give more budget seconds"
    elif row is not None:
        measured, reason = row.status, row.cause
    return passed, measured, f"at least {required} times", reason


def _within(
    measured: LatencyFigures, name: str, budget_ms: float, seconds: float
) -> tuple[bool, str, str, str]:
    """Return passed, measured, required and reason of a percentile against its budget.

    The upper end of the percentile's interval must be within ``budget_ms``.
    """
    value_ms, interval = getattr(measured, f"{name}_ms"), measured.intervals.get(name)
    if interval is None and measured.intervals:
        what = f"{NOT_ENOUGH}: the {name} is made by too few rounds; give more budget seconds"
        limit = numbers.milliseconds(budget_ms)
        return False, numbers.milliseconds(value_ms), f"at most {limit}", what
    high_ms = value_ms if interval is None else interval.high
    passed, reason = high_ms <= budget_ms, ""
    text, most = numbers.apart(value_ms, budget_ms, numbers.milliseconds, digits=3)
    if interval is not None:
        high, most = numbers.apart(high_ms, budget_ms, numbers.milliseconds, digits=3)
        text = f"{numbers.milliseconds(value_ms)}, at most {high}"
        text += f" ({numbers.percent(interval.confidence)} interval)"
        if not passed and interval.low <= budget_ms:
            reason = f"{NOT_ENOUGH}: {_would_be_enough(interval, budget_ms, seconds)}"
    return passed, text, f"at most {most}", reason


def _would_be_enough(interval: Interval, threshold: float, seconds: float) -> str:
    """Return a sentence on how long to measure until the interval excludes the threshold.

    An interval narrows with the square root of the measuring time, and it must narrow by the ratio
    of its width to the distance between estimate and threshold.
    """
    distance = abs(interval.estimate - threshold)
    width = max(interval.high - interval.estimate, interval.estimate - interval.low)
    spans = "the interval spans the threshold"
    if distance == 0 or width / distance > _HOPELESS:
        return f"{spans}, and the model is as fast as that: no budget would tell; lower the gate"
    needed = ceil(_MARGIN * seconds * (width / distance) ** 2)
    return f"{spans}; some {needed:,} budget seconds would tell, {ceil(seconds):,} were used"
