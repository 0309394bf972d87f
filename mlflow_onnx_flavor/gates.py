"""`judge(evidence, gates)`: pure, instant, repeatable.  A stricter gate needs no new measurement.

verdict = judge(ReleaseEvidence(parity=..., latency=...), configuration.gates)
verdict.passed, verdict.chosen, verdict.findings
"""

from __future__ import annotations

from collections.abc import Iterable
from math import ceil, log, log1p, prod
from typing import TypeVar

from mlflow_onnx_flavor.configuration import Gates, LatencyGate, ParityGate
from mlflow_onnx_flavor.errors import ConfigurationError
from mlflow_onnx_flavor.evidence import (
    Evidence,
    ExecutionProvider,
    Interval,
    LatencyReport,
    LatencyRow,
    ModelIdentity,
    OutputParity,
    ParityReport,
    ParityRow,
)
from mlflow_onnx_flavor.inputs.batches import (
    EVALUATION_DATA,
    EXTREME_PROBES,
    INPUT_EXAMPLE,
    is_probe,
)
from mlflow_onnx_flavor.reporting import figures

# An interval so many times as wide as its distance to the threshold would take the square of that
# times as long to tell.
_HOPELESS = 10.0
# Over the time that would do on average.
_MARGIN = 1.5

PYFUNC = "pyfunc"  # the name of what the pyfunc answers, with its key where it has several

Row = TypeVar("Row", ParityRow, LatencyRow)


class ReleaseEvidence(Evidence):
    """What a verdict reads.  ``required``: providers on which every gate must hold, in the order
    of preference for serving.
    """

    parity: ParityReport
    latency: LatencyReport
    required: tuple[ExecutionProvider, ...]


class Finding(Evidence):
    """One gate on one candidate (and provider, and batch size): what was measured against what."""

    gate: str  # "parity", "form", "latency", "regression", "p99", "size"
    candidate: str
    execution_provider: str
    batch_size: int | None
    passed: bool
    measured: str
    required: str
    reason: str = ""


class Verdict(Evidence):
    """The judgement.

    ``chosen``: the fastest candidate that passes every gate on every required provider, if any
    does.  ``serve_on``: the provider that it uses when loaded, the first of the required ones.
    """

    passed: bool
    chosen: str | None
    serve_on: ExecutionProvider | None
    findings: tuple[Finding, ...]
    gates: Gates

    def of(self, candidate: str) -> tuple[Finding, ...]:
        return tuple(finding for finding in self.findings if finding.candidate == candidate)

    def failures(self) -> tuple[Finding, ...]:
        return tuple(finding for finding in self.findings if not finding.passed)


def judge(evidence: ReleaseEvidence, gates: Gates) -> Verdict:
    """Hold every candidate against every gate on every required provider; choose the fastest.

    Raises ConfigurationError for a tolerance on an output that no model has.
    """
    _check_names(evidence.parity, gates.parity)
    findings = [
        finding
        for candidate in evidence.parity.candidates
        for provider in evidence.required
        for finding in _judge_candidate(evidence, candidate, provider, gates)
    ]
    passing = [
        candidate.name
        for candidate in evidence.parity.candidates
        if all(finding.passed for finding in findings if finding.candidate == candidate.name)
    ]
    chosen = _fastest(evidence, passing)
    return Verdict(
        passed=chosen is not None,
        chosen=chosen,
        serve_on=evidence.required[0] if chosen else None,
        findings=tuple(findings),
        gates=gates,
    )


def judge_parity(report: ParityReport, gate: ParityGate) -> tuple[Finding, ...]:
    """Every row of a report that stands alone against the parity gate."""
    _check_names(report, gate)
    return tuple(
        finding
        for name, provider in _measured_on(report.rows)
        for finding in _judge_parity(name, provider, _rows_of(report.rows, name, provider), gate)
    )


def judge_latency(report: LatencyReport, gate: LatencyGate) -> tuple[Finding, ...]:
    """Every row of a report that stands alone against the latency gate."""
    return tuple(
        finding
        for name, provider in _measured_on(report.rows)
        for finding in _judge_latency(
            name, provider, _rows_of(report.rows, name, provider), gate, report.measuring_seconds
        )
    )


def _check_names(report: ParityReport, gate: ParityGate) -> None:
    known = {output.name for row in report.rows for output in row.outputs}
    if not isinstance(gate.tolerance, dict) or not known:
        return
    for name in gate.tolerance:
        if name not in known:
            raise ConfigurationError(
                f"gates.parity.tolerance names the output {name!r}, but the models have"
                f" {', '.join(sorted(known))}; correct the name"
            )


def judged(rows: Iterable[ParityRow], gate: ParityGate) -> list[ParityRow]:
    """Those that the gate speaks of: extreme probes only where it is said so."""
    return [row for row in rows if gate.extreme_probes or row.inputs != EXTREME_PROBES]


def upper_bound(disagreements: int, rows: int, confidence: float) -> float:
    """One-sided upper bound on the true disagreement rate (Clopper and Pearson, 1934)."""
    if rows == 0 or disagreements >= rows:
        return 1.0
    from scipy.special import betaincinv  # scipy.stats takes half a second more to import

    return float(betaincinv(disagreements + 1, rows - disagreements, confidence))


def rows_needed(bound: float, confidence: float) -> int:
    """Agreeing rows after which the upper bound on the disagreement rate is at most ``bound``."""
    return ceil(log(1 - confidence) / log1p(-bound))


def tolerance_of(output: OutputParity, gate: ParityGate) -> float:
    """The tolerance on the scaled error that ``gate`` sets for this output.

    What a consumer sees ("pyfunc ...") is made of outputs that are judged by their own names, so of
    several tolerances the widest is its.
    """
    asked = gate.tolerance
    if isinstance(asked, dict):
        if output.name.split(" ")[0] == PYFUNC and output.name not in asked:
            given = [output.auto_tolerance, *(each for each in asked.values() if each != "auto")]
            return max(given)
        asked = asked.get(output.name, "auto")
    return output.auto_tolerance if asked == "auto" else asked


def _judge_candidate(
    evidence: ReleaseEvidence, candidate: ModelIdentity, provider: ExecutionProvider, gates: Gates
) -> Iterable[Finding]:
    parity = _rows_of(evidence.parity.rows, candidate.name, provider)
    latency = _rows_of(evidence.latency.rows, candidate.name, provider)
    yield from _judge_parity(candidate.name, provider, parity, gates.parity)
    seconds = evidence.latency.measuring_seconds
    yield from _judge_latency(candidate.name, provider, latency, gates.latency, seconds)
    if gates.size.max_megabytes is not None:
        yield _judge_size(candidate, provider, gates.size.max_megabytes)


def _measured_on(rows: Iterable[Row]) -> list[tuple[str, ExecutionProvider]]:
    """Candidate and provider of each row, each pair once, in order."""
    pairs: list[tuple[str, ExecutionProvider]] = []
    for row in rows:
        if (row.candidate, row.execution_provider) not in pairs:
            pairs.append((row.candidate, row.execution_provider))
    return pairs


def _rows_of(rows: Iterable[Row], candidate: str, provider: ExecutionProvider) -> list[Row]:
    return [
        row for row in rows if row.candidate == candidate and row.execution_provider == provider
    ]


def _judge_parity(
    candidate: str, provider: ExecutionProvider, rows: list[ParityRow], gate: ParityGate
) -> Iterable[Finding]:
    def finding(
        name: str, row: ParityRow | None, passed: bool, measured: str, required: str, reason=""
    ):
        return Finding(
            gate=name,
            candidate=candidate,
            execution_provider=provider.name,
            batch_size=row.batch_size if row else None,
            passed=passed,
            measured=measured,
            required=required,
            reason=reason,
        )

    if not rows:
        yield finding("parity", None, False, "not measured", "a measurement")
    for row in judged(rows, gate):
        if row.status != "measured":
            yield finding("parity", row, False, row.status, "a measurement", _why(row))
            continue
        if row.form_differences:
            first = row.form_differences[0]
            yield finding(
                "form",
                row,
                False,
                f"{first.what} {first.candidate}",
                f"{first.what} {first.source}",
            )
        yield finding("parity", row, *_agreement(row, gate))


def _agreement(row: ParityRow, gate: ParityGate) -> tuple[bool, str, str, str]:
    worst = max(row.outputs, key=lambda output: output.disagreements(tolerance_of(output, gate)))
    tolerance = tolerance_of(worst, gate)
    disagreements = worst.disagreements(tolerance)
    bound = upper_bound(disagreements, worst.rows, gate.confidence)
    limit = gate.max_disagreement_bound
    true_rate, most = figures.apart(bound, bound if limit is None else limit, figures.percent)
    measured = (
        f"{disagreements:,} of {worst.rows:,} {_rows_in_words(row)} differ in"
        f" {worst.name}{_ties(row)}"
        f" (true rate at most {true_rate}, {figures.percent(gate.confidence)} confidence)"
    )
    probes = is_probe(row.inputs)
    rate = gate.max_probe_disagreement_rate if probes else gate.max_disagreement_rate
    required = f"at most {figures.percent(rate)} of {'probes' if probes else 'rows'}"
    if worst.kind == "scores":
        required += f" beyond {figures.scientific(tolerance)}"
    passed = disagreements <= rate * worst.rows
    reason = "" if passed else _why_different(row, worst)
    if limit is not None and row.inputs == EVALUATION_DATA:
        required += f", true rate at most {most}"
        if passed and bound > limit:
            passed = False
            needed = rows_needed(limit, gate.confidence)
            reason = f"not enough evidence: {needed:,} rows without a disagreement would be"
    return passed, measured, required, reason


def _rows_in_words(row: ParityRow) -> str:
    words = {EVALUATION_DATA: "rows", INPUT_EXAMPLE: "example rows"}
    return words.get(row.inputs, row.inputs)


def _ties(row: ParityRow) -> str:
    """Said beside what differs: labels that differ where the source scores both the same."""
    ties = max((output.label_ties for output in row.outputs), default=0)
    return f" and {ties:,} are ties" if ties else ""


def _why(row: ParityRow) -> str:
    return "; ".join(filter(None, [row.cause, row.remedy]))


def _why_different(row: ParityRow, output: OutputParity) -> str:
    if not output.same_shape:
        return f"shape {output.candidate_shape} where the source gives {output.source_shape}"
    if output.nonfinite_mismatches:
        return f"{output.nonfinite_mismatches} rows have NaN or infinity on one side only"
    if output.kind == "scores":
        return "; ".join(
            filter(None, [f"largest error {output.max_absolute_error:.2e}", _why(row)])
        )
    return _why(row)


def _judge_latency(
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


def _judge_size(candidate: ModelIdentity, provider: ExecutionProvider, limit: float) -> Finding:
    megabytes = candidate.size_bytes / 1e6
    measured, most = figures.apart(megabytes, limit, figures.significant, digits=3)
    return Finding(
        gate="size",
        candidate=candidate.name,
        execution_provider=provider.name,
        batch_size=None,
        passed=megabytes <= limit,
        measured=f"{measured} MB",
        required=f"at most {most} MB",
    )


def _fastest(evidence: ReleaseEvidence, passing: list[str]) -> str | None:
    """The passing candidate whose speed-ups over the source have the largest geometric mean."""

    def speed(name: str) -> float:
        return prod(
            row.speedup.estimate
            for row in evidence.latency.rows
            if row.candidate == name
            and row.baseline == "source"
            and row.execution_provider in evidence.required
            and row.speedup is not None
        )

    return max(passing, key=speed, default=None)
