"""The latency gates: faster than the source, no slower than the champion, within the budgets."""

from __future__ import annotations

from collections.abc import Iterable
from math import ceil

from mlflow_onnx_flavor.configuration import LatencyGate
from mlflow_onnx_flavor.evidence import ExecutionProvider, Interval, LatencyReport, LatencyRow
from mlflow_onnx_flavor.gates.verdict import Finding, measured_on, rows_of
from mlflow_onnx_flavor.reporting import figures

# An interval so many times as wide as its distance to the threshold would take the square of that
# times as long to tell.
_HOPELESS = 10.0
# Over the time that would do on average.
_MARGIN = 1.5


def judge_latency(report: LatencyReport, gate: LatencyGate) -> tuple[Finding, ...]:
    """Every row of a report that stands alone against the latency gate."""
    return tuple(
        finding
        for name, provider in measured_on(report.rows)
        for finding in findings_on_latency(
            name, provider, rows_of(report.rows, name, provider), gate, report.measuring_seconds
        )
    )


def findings_on_latency(
    candidate: str,
    provider: ExecutionProvider,
    rows: list[LatencyRow],
    gate: LatencyGate,
    seconds: float,
) -> Iterable[Finding]:
    """``seconds``: what was spent measuring."""
    for batch_size in gate.batch_sizes:
        at_size = [row for row in rows if row.batch_size == batch_size]
        source = next((row for row in at_size if row.baseline == "source"), None)
        champion = next((row for row in at_size if row.baseline == "champion"), None)
        common = candidate, provider, batch_size, seconds
        yield _against(source, "latency", gate.min_speedup, *common)
        if champion is not None:
            least = 1 - gate.max_regression
            yield _against(champion, "regression", least, *common)
        if gate.p99_ms is not None and source is not None and source.candidate_figures:
            p99 = source.candidate_figures.p99_ms
            measured, most = figures.apart(p99, gate.p99_ms, figures.milliseconds, digits=3)
            yield Finding(
                gate="p99",
                candidate=candidate,
                execution_provider=provider.name,
                batch_size=batch_size,
                passed=p99 <= gate.p99_ms,
                measured=measured,
                required=f"at most {most}",
            )


def _against(
    row: LatencyRow | None,
    gate: str,
    least: float,
    candidate: str,
    provider: ExecutionProvider,
    batch_size: int,
    seconds: float,
) -> Finding:
    baseline = "champion" if gate == "regression" else "source"
    passed, measured, required, reason = False, "not measured", figures.ratio(least), ""
    if row is not None and row.speedup is None:
        measured, reason = row.status, row.cause
    elif row is not None:
        passed = row.speedup.low >= least
        speedup, required = figures.interval_apart(row.speedup, least)
        measured = f"{speedup} times as fast as the {baseline}"
        if not passed and row.speedup.high >= least:
            reason = f"not enough evidence: {_would_be_enough(row.speedup, least, seconds)}"
    return Finding(
        gate=gate,
        candidate=candidate,
        execution_provider=provider.name,
        batch_size=batch_size,
        passed=passed,
        measured=measured,
        required=f"at least {required} times",
        reason=reason,
    )


def _would_be_enough(speedup: Interval, least: float, seconds: float) -> str:
    """How long to measure until an interval like this one leaves the threshold on one side.

    An interval narrows with the root of the time, so it must do so by width over distance.
    """
    distance = abs(speedup.estimate - least)
    width = max(speedup.high - speedup.estimate, speedup.estimate - speedup.low)
    spans = "the interval spans the threshold"
    if distance == 0 or width / distance > _HOPELESS:
        return f"{spans}, and the model is as fast as that: no budget would tell; lower the gate"
    needed = ceil(_MARGIN * seconds * (width / distance) ** 2)
    return f"{spans}; some {needed:,} budget seconds would tell, {ceil(seconds):,} were used"
