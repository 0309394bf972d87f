"""Judge evidence against gates: a pure function, so a stricter gate needs no new measurement.

verdict = judge(ReleaseEvidence(parity=..., latency=...), configuration.gates)
verdict.passed, verdict.chosen, verdict.findings
"""

from __future__ import annotations

from collections.abc import Iterable

from mlflow_onnx_flavor.formatting import numbers
from mlflow_onnx_flavor.gates.choice import choose
from mlflow_onnx_flavor.gates.latency import (
    findings_on_latency,
    is_judged,
    is_undecided,
    judge_latency,
)
from mlflow_onnx_flavor.gates.parity import (
    check_names,
    findings_on_parity,
    judge_parity,
    judged,
    rows_needed,
    tolerance_of,
    upper_bound,
)
from mlflow_onnx_flavor.schemas.configuration import Gates
from mlflow_onnx_flavor.schemas.evidence import ExecutionProvider, LatencyReport, ModelIdentity
from mlflow_onnx_flavor.schemas.verdict import (
    NOT_ENOUGH,
    Finding,
    ReleaseEvidence,
    Verdict,
    rows_of,
)

__all__ = [
    "NOT_ENOUGH",
    "Finding",
    "ReleaseEvidence",
    "Verdict",
    "is_judged",
    "is_undecided",
    "judge",
    "judge_latency",
    "judge_parity",
    "judged",
    "rows_needed",
    "tolerance_of",
    "upper_bound",
]


def judge(evidence: ReleaseEvidence, gates: Gates) -> Verdict:
    """Check every candidate against every gate on each required provider, and choose one.

    Only a candidate that passes every gate can be chosen: the fastest, or a simpler one whose speed
    is within ``choice.indifference`` of it (`choose`).

    Raises ConfigurationError for a tolerance on an output that no model has.
    """
    check_names(evidence.parity, gates.parity)
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
    choice = evidence.configuration.choice if evidence.configuration else None
    chosen = choose(
        passing, evidence.latency.rows, evidence.required, choice.indifference if choice else 0.0
    )
    return Verdict(
        passed=chosen is not None,
        chosen=chosen,
        serve_on=evidence.required[0] if chosen else None,
        findings=tuple(findings),
        gates=gates,
    )


def _judge_candidate(
    evidence: ReleaseEvidence, candidate: ModelIdentity, provider: ExecutionProvider, gates: Gates
) -> Iterable[Finding]:
    parity = rows_of(evidence.parity.rows, candidate.name, provider)
    latency = rows_of(evidence.latency.rows, candidate.name, provider)
    yield from findings_on_parity(candidate.name, provider, parity, gates.parity)
    seconds = evidence.latency.measuring_seconds
    yield from findings_on_latency(candidate.name, provider, latency, gates.latency, seconds)
    if gates.size.max_megabytes is not None:
        yield _limit("size", candidate, provider, candidate.size_bytes, gates.size.max_megabytes)
    if gates.memory.max_megabytes is not None:
        peak = _peak_memory(evidence.latency, candidate.name, provider)
        yield _limit("memory", candidate, provider, peak, gates.memory.max_megabytes)


def _peak_memory(report: LatencyReport, name: str, provider: ExecutionProvider) -> int | None:
    """Return the candidate's peak memory in bytes as it is served; None where not measured."""
    return next(
        (
            row.figures.peak_memory_bytes
            for row in report.loads
            if (row.model, row.execution_provider, row.threads) == (name, provider, None)
        ),
        None,
    )


def _limit(
    gate: str,
    candidate: ModelIdentity,
    provider: ExecutionProvider,
    size_bytes: int | None,
    limit: float,
) -> Finding:
    """Return the finding for ``size_bytes`` against ``limit`` in MB (1 MB = 1,000,000 bytes)."""
    megabytes = float("nan") if size_bytes is None else size_bytes / 1e6
    measured, most = numbers.apart(megabytes, limit, numbers.significant, digits=3)
    return Finding(
        gate=gate,
        candidate=candidate.name,
        execution_provider=str(provider),
        batch_size=None,
        passed=megabytes <= limit,
        measured="not measured" if size_bytes is None else f"{measured} MB",
        required=f"at most {most} MB",
    )
