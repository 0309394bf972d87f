"""The headline of a report: outcome, choice, speed, accuracy and next steps."""

from __future__ import annotations

import math
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from mlflow_onnx_flavor.formatting import numbers
from mlflow_onnx_flavor.gates import is_judged
from mlflow_onnx_flavor.gates.choice import speed
from mlflow_onnx_flavor.schemas.evidence import Interval, OutputParity, ParityRow
from mlflow_onnx_flavor.schemas.origins import EVALUATION_DATA, INPUT_EXAMPLE
from mlflow_onnx_flavor.schemas.summary import AttemptSummary, ReleaseSummary
from mlflow_onnx_flavor.schemas.verdict import NOT_ENOUGH, Finding

Outcome = Literal["passed", "failed", "stopped"]


@dataclass(frozen=True)
class WorstError:
    """The largest error of the chosen candidate, on the providers that it was judged on.

    If none was chosen, it covers all candidates.  ``label_disagreements`` of ``rows`` rows, None
    without labels.  ``absolute_error``: None without numeric outputs.
    """

    absolute_error: float | None
    output: str
    execution_provider: str
    rows: int
    label_disagreements: int | None

    def __str__(self) -> str:
        parts = []
        if self.absolute_error is not None:
            parts.append(f"{numbers.scientific(self.absolute_error)} in {self.output}")
        if self.label_disagreements or self.absolute_error is None:
            differ = numbers.count(self.label_disagreements or 0)
            parts.append(f"{differ} of {numbers.count(self.rows)} labels differ")
        return ", ".join(parts)


def outcome(summary: ReleaseSummary) -> Outcome:
    """Return the outcome of the release.

    A failed verdict gives "failed", even if there is an error too; any other error gives "stopped".
    """
    if summary.verdict is not None and not summary.verdict.passed:
        return "failed"
    return "stopped" if summary.error or summary.verdict is None else "passed"


def nothing_converted(summary: ReleaseSummary) -> bool:
    """Return whether export strategies were tried and none gave a correct model."""
    return bool(failed_attempts(summary))


def failed_attempts(summary: ReleaseSummary) -> tuple[AttemptSummary, ...]:
    """Return the attempts of a conversion that gave no correct model; empty after one that did."""
    conversion = summary.conversion
    return conversion.attempts if conversion and conversion.strategy is None else ()


def sentence(summary: ReleaseSummary) -> str:
    """Return the release in one sentence."""
    verdict = summary.verdict
    if outcome(summary) == "failed":
        names = judged_candidates(summary)
        held = (
            f"candidate {names[0]} does not pass"
            if len(names) == 1
            else f"none of the {len(names)} candidates passes"
        )
        return f"Failed: {held} every gate, so the registry stays as it was."
    if nothing_converted(summary):
        number = len(failed_attempts(summary))
        tried = f"none of the {number} export strategies" if number > 1 else "no export strategy"
        return f"Not converted: {tried} gave a right model, so the registry stays as it was."
    if verdict is None or outcome(summary) == "stopped":
        return f"Stopped: {_as_sentence(summary.error or 'there is no verdict', capital=False)}"
    text = f"Passed: candidate {verdict.chosen} on {verdict.serve_on}"
    registered = summary.registered
    if registered is None:
        return f"{text} holds every gate; nothing was registered."
    text += f" is registered as {registered.name} version {registered.version}"
    if registered.alias_moved_to is not None:
        text += f" under alias {registered.alias}"
    return f"{text}."


def alias_change(summary: ReleaseSummary) -> str:
    """Return the alias's change in one clause: "champion moved from version 3 to version 4"."""
    registered = summary.registered
    if registered is None or registered.alias_moved_to is None:
        return summary.promotion or "no alias was moved"
    if registered.alias_moved_from is None:
        return f"{registered.alias} set on version {registered.alias_moved_to}"
    return (
        f"{registered.alias} moved from version {registered.alias_moved_from}"
        f" to version {registered.alias_moved_to}"
    )


def judged_candidates(summary: ReleaseSummary) -> tuple[str, ...]:
    """Return the candidates with findings: the chosen one first, the others in judging order."""
    if summary.verdict is None:
        return ()
    names = dict.fromkeys(finding.candidate for finding in summary.verdict.findings)
    chosen = summary.verdict.chosen
    return tuple(sorted(names, key=lambda name: name != chosen))


def why_not_chosen(summary: ReleaseSummary, candidate: str) -> str:
    """Return one line on a candidate that was judged and not chosen."""
    verdict = summary.verdict
    if verdict is None:
        return "not judged"
    failed = [finding for finding in verdict.of(candidate) if not finding.passed]
    if not failed:
        rows = summary.latency.rows if summary.latency else ()
        if speed(candidate, rows) >= speed(verdict.chosen or "", rows):
            share = summary.configuration.choice.indifference if summary.configuration else 0.0
            faster = f"less than {numbers.percent(share)} faster" if share else "no faster"
            return f"passes every gate, {faster} than {verdict.chosen}, which is simpler"
        return f"passes every gate, slower than {verdict.chosen}"
    first = failed[0]
    text = f"{first.gate} failed {where(first)}: {first.measured}, required {first.required}"
    others = len(failed) - 1
    return text + (f" (and {others} more)" if others else "")


def where(finding: Finding) -> str:
    """Return the execution provider, batch size and sequence length of a finding in words."""
    batch = "" if finding.batch_size is None else f", batch {finding.batch_size}"
    if finding.sequence_length is not None:
        batch += f", length {finding.sequence_length}"
    return f"on {finding.execution_provider}{batch}"


def reported_candidates(summary: ReleaseSummary) -> frozenset[str]:
    """Return the chosen candidate, or all if none is chosen."""
    if summary.verdict is not None and summary.verdict.chosen is not None:
        return frozenset({summary.verdict.chosen})
    reports = [report for report in (summary.parity, summary.latency) if report is not None]
    return frozenset(row.candidate for report in reports for row in report.rows)


def speedups(summary: ReleaseSummary) -> tuple[tuple[int, Interval], ...]:
    """Return batch size and speed-up over the source of the chosen candidate on its provider."""
    verdict = summary.verdict
    if verdict is None or verdict.chosen is None or summary.latency is None:
        return ()
    return tuple(
        (row.batch_size, row.speedup)
        for row in sorted(summary.latency.rows, key=lambda row: row.batch_size)
        if row.candidate == verdict.chosen
        and row.baseline == "source"
        and is_judged(row)
        and row.speedup is not None
        and row.execution_provider == verdict.serve_on
    )


def worst_error(summary: ReleaseSummary) -> WorstError | None:
    """Return the largest difference from the source; None if nothing was compared.

    It is measured on the evaluation data, or on the input example if there is none.
    """
    compared = list(_compared(summary))
    if not compared:
        return None
    scores = [pair for pair in compared if pair[1].kind == "scores"]
    labels = [pair for pair in compared if pair[1].kind == "labels"]
    worst = max(scores, key=lambda pair: _rank(pair[1].max_absolute_error), default=None)
    most = max(labels, key=lambda pair: pair[1].label_disagreements, default=None)
    row, output = worst or most or compared[0]
    return WorstError(
        absolute_error=output.max_absolute_error if worst else None,
        output=output.name,
        execution_provider=str(row.execution_provider),
        rows=most[1].rows if most else row.rows,
        label_disagreements=most[1].label_disagreements if most else None,
    )


def next_steps(summary: ReleaseSummary) -> tuple[str, ...]:
    """Return what to do about a release that did not pass; empty if nothing needs doing."""
    if outcome(summary) == "passed":
        return ()
    steps = _after_conversion(summary) if nothing_converted(summary) else []
    if outcome(summary) == "failed":
        steps += _after_verdict(summary)
    return tuple(dict.fromkeys(map(_as_sentence, steps)))


def reproduce_command(summary: ReleaseSummary) -> str:
    """Return the command line that makes this release again."""
    words = ["mlflow-onnx", "release", summary.source.resolved_uri or summary.source.uri]
    name = summary.registered.name if summary.registered else summary.registered_model
    words += ["--registered-model", name] if name else []
    words += ["--data", summary.data.path] if summary.data and summary.data.path else []
    words += ["--config", "release.yaml"] if summary.configuration else []
    return shlex.join(words)


def _after_conversion(summary: ReleaseSummary) -> list[str]:
    uri = shlex.quote(summary.source.uri)
    attempts = [attempt for attempt in failed_attempts(summary) if attempt.remedy]
    return [
        *(f"For strategy `{attempt.strategy}`: {attempt.remedy}" for attempt in attempts),
        f"See what a conversion of this model takes with `mlflow-onnx explain {uri}`",
        "Or convert the model yourself, log it with mlflow.onnx.log_model, and release that",
    ]


def _after_verdict(summary: ReleaseSummary) -> list[str]:
    steps = []
    for finding in summary.verdict.failures() if summary.verdict else ():
        steps += [row.remedy for row in _rows_of(summary, finding) if row.remedy]
        if finding.reason.startswith(NOT_ENOUGH):
            steps.append(f"{finding.gate} {where(finding)}: {finding.reason}")
    steps.append(
        "Where a gate is stricter than you need, set it in the file that you give to --config"
        " (`mlflow-onnx release --print-config` prints every key)"
    )
    return steps


def _as_sentence(text: str, capital: bool = True) -> str:
    text = text.strip()
    if capital and text[:2].isascii() and text[:2].islower():
        text = text[0].upper() + text[1:]
    return text if text.endswith((".", "!", "?")) else f"{text}."


def _compared(summary: ReleaseSummary) -> Iterator[tuple[ParityRow, OutputParity]]:
    if summary.parity is None:
        return
    findings = summary.verdict.findings if summary.verdict else ()
    judged = {finding.execution_provider for finding in findings}
    candidates = reported_candidates(summary)
    counted = [
        row
        for row in summary.parity.rows
        if row.candidate in candidates and (not judged or str(row.execution_provider) in judged)
    ]
    given = {row.inputs for row in counted}
    inputs = next((each for each in (EVALUATION_DATA, INPUT_EXAMPLE) if each in given), None)
    for row in counted:
        if inputs in (None, row.inputs):
            for output in row.outputs:
                yield row, output


def _rank(error: float) -> float:
    return math.inf if math.isnan(error) else error


def _rows_of(summary: ReleaseSummary, finding: Finding) -> Iterator[ParityRow]:
    if finding.gate not in ("parity", "form") or summary.parity is None:
        return
    for row in summary.parity.rows:
        if (
            row.candidate == finding.candidate
            and str(row.execution_provider) == finding.execution_provider
            and row.batch_size == finding.batch_size
        ):
            yield row
