"""The parts of a judgement: the evidence, a finding for each gate, the verdict."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, TypeVar

from pydantic import field_validator

from mlflow_onnx_flavor.schemas.configuration import Configuration, Gates
from mlflow_onnx_flavor.schemas.evidence import (
    Evidence,
    ExecutionProvider,
    LatencyReport,
    LatencyRow,
    ParityReport,
    ParityRow,
)

NOT_ENOUGH = "not enough evidence"  # begins the reason of a finding that more data may change

Row = TypeVar("Row", ParityRow, LatencyRow)


class ReleaseEvidence(Evidence):
    """The evidence that a verdict is made from.

    ``required``: providers on which every gate must hold, in the order of preference for serving.
    ``configuration``: that of the release, for the record.
    """

    parity: ParityReport
    latency: LatencyReport
    required: tuple[ExecutionProvider, ...]
    configuration: Configuration | None = None

    @field_validator("configuration", mode="before")
    @classmethod
    def _as_it_was(cls, configuration: Any) -> Any:
        """Give older evidence an indifference of 0, as its verdict chose the fastest candidate."""
        if isinstance(configuration, dict) and "choice" not in configuration:
            return {**configuration, "choice": {"indifference": 0.0}}
        return configuration


class Finding(Evidence):
    """The result of one gate for one candidate (and provider, and workload).

    It holds the measured figure and the required one.
    """

    gate: str  # "parity", "form", "latency", "regression", "p99", "size", "memory", ...
    candidate: str
    execution_provider: str
    batch_size: int | None
    sequence_length: int | None = None
    passed: bool
    measured: str
    required: str
    reason: str = ""


class Verdict(Evidence):
    """The judgement of a release.

    ``chosen``: the candidate to register, one that passes every gate on every required provider;
    None where there is none.  ``serve_on``: the provider that it uses when loaded, the first of the
    required ones.
    """

    passed: bool
    chosen: str | None
    serve_on: ExecutionProvider | None
    findings: tuple[Finding, ...]
    gates: Gates

    def of(self, candidate: str) -> tuple[Finding, ...]:
        """Return the findings on one candidate."""
        return tuple(finding for finding in self.findings if finding.candidate == candidate)

    def failures(self) -> tuple[Finding, ...]:
        """Return the findings that did not pass."""
        return tuple(finding for finding in self.findings if not finding.passed)


def measured_on(rows: Iterable[Row]) -> list[tuple[str, ExecutionProvider]]:
    """Return candidate and provider of the rows, each pair once, in order."""
    pairs: list[tuple[str, ExecutionProvider]] = []
    for row in rows:
        if (row.candidate, row.execution_provider) not in pairs:
            pairs.append((row.candidate, row.execution_provider))
    return pairs


def rows_of(rows: Iterable[Row], candidate: str, provider: ExecutionProvider) -> list[Row]:
    """Return the rows of one candidate on one provider."""
    return [
        row for row in rows if row.candidate == candidate and row.execution_provider == provider
    ]
