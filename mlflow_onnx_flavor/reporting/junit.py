"""The verdict as JUnit XML, for CI systems that show test results.

There is a suite for each candidate and gate, a case for each execution provider and batch size.  A
finding that holds the release back is a ``<failure>`` (a gate) or an ``<error>`` (no measurement,
no model); one that does not (other candidates, providers that nobody requested) is ``<skipped>``
and says why.  So a release that passes has no failures and no errors, and one that does not has at
least one.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal
from xml.etree import ElementTree

from mlflow_onnx_flavor.formatting.text import printable
from mlflow_onnx_flavor.reporting import headline
from mlflow_onnx_flavor.schemas.summary import AttemptSummary, ReleaseSummary
from mlflow_onnx_flavor.schemas.verdict import Finding

WITHOUT_MEASUREMENT = ("crashed", "failed", "timed out", "fell back", "skipped", "not measured")


Result = Literal["failure", "error", "skipped"]


@dataclass(frozen=True)
class Case:
    """A test case; ``result`` is None if it passed.

    ``text`` goes into the body of the result or the output.
    """

    name: str
    result: Result | None = None
    message: str = ""
    text: str = ""
    seconds: float = 0.0


def render_junit(summary: ReleaseSummary) -> str:
    """Return JUnit XML of the release, with an XML declaration, to be written as UTF-8."""
    title = summary.registered_model or summary.source.uri
    root = ElementTree.Element("testsuites", {"name": printable(f"ONNX release of {title}")})
    suites = [(name, cases) for name, cases in _suites(summary) if cases]
    for name, cases in suites:
        _add_suite(root, name, cases, package=title)
    _count(root, [case for _, cases in suites for case in cases])
    ElementTree.indent(root)
    body = ElementTree.tostring(root, encoding="unicode")
    return f'<?xml version="1.0" encoding="utf-8"?>\n{body}\n'


def _suites(summary: ReleaseSummary) -> Iterable[tuple[str, list[Case]]]:
    yield "conversion", [_attempt_case(attempt, summary) for attempt in _attempts(summary)]
    yield "candidates", [Case(skip.name, "skipped", skip.reason) for skip in summary.skipped]
    for candidate in headline.judged_candidates(summary):
        by_gate: dict[str, list[Case]] = {}
        for finding in summary.verdict.of(candidate) if summary.verdict else ():
            by_gate.setdefault(finding.gate, []).append(_finding_case(finding, summary))
        for gate, cases in by_gate.items():
            yield f"{candidate}: {gate}", cases
    yield "shown only", _unjudged_cases(summary)
    yield "release", [_release_case(summary)]


def _attempts(summary: ReleaseSummary) -> tuple[AttemptSummary, ...]:
    return summary.conversion.attempts if summary.conversion else ()


def _attempt_case(attempt: AttemptSummary, summary: ReleaseSummary) -> Case:
    result: Result | None = None
    if attempt.outcome != "converted":
        failed = headline.nothing_converted(summary) and attempt.outcome != "not tried"
        result = "failure" if failed else "skipped"
    message = ": ".join(filter(None, (attempt.outcome, attempt.cause)))
    exporter = f"{attempt.exporter} {attempt.exporter_version}".strip()
    text = "\n".join(filter(None, (attempt.why, exporter, attempt.remedy)))
    return Case(attempt.strategy, result, message, text, attempt.seconds)


def _finding_case(finding: Finding, summary: ReleaseSummary) -> Case:
    name = finding.execution_provider
    if finding.batch_size is not None:
        name += f", batch {finding.batch_size}"
    if finding.sequence_length is not None:
        name += f", length {finding.sequence_length}"
    measured = f"measured: {finding.measured}\nrequired: {finding.required}"
    if finding.passed:
        return Case(name, text=measured)
    message = f"{finding.measured}, required {finding.required}"
    if finding.reason:
        message += f": {finding.reason}"
    chosen = summary.verdict.chosen if summary.verdict else None
    if chosen is not None and finding.candidate != chosen:
        return Case(name, "skipped", f"{chosen} was chosen; here: {message}", measured)
    result: Result = "error" if finding.measured in WITHOUT_MEASUREMENT else "failure"
    return Case(name, result, message, f"{measured}\n{finding.reason}".strip())


def _unjudged_cases(summary: ReleaseSummary) -> list[Case]:
    """Return cases for providers that were tried but that no gate judged."""
    if summary.verdict is None or summary.parity is None:
        return []
    judged = {finding.execution_provider for finding in summary.verdict.findings}
    return [
        Case(
            f"{row.candidate} on {row.execution_provider}, batch {row.batch_size}",
            "skipped",
            ": ".join(filter(None, (row.status, row.cause))),
            row.remedy,
        )
        for row in summary.parity.rows
        if str(row.execution_provider) not in judged
    ]


def _release_case(summary: ReleaseSummary) -> Case:
    """Return the case of the whole release: red whenever it did not pass, whatever others say."""
    sentence = headline.sentence(summary)
    outcome = headline.outcome(summary)
    if outcome == "passed":
        return Case("verdict", text=f"{sentence}\n{headline.alias_change(summary)}")
    failed = outcome == "failed" or headline.nothing_converted(summary)
    result: Result = "failure" if failed else "error"
    return Case("verdict", result, sentence, "\n".join(headline.next_steps(summary)))


def _add_suite(root: ElementTree.Element, name: str, cases: list[Case], package: str) -> None:
    suite = ElementTree.SubElement(root, "testsuite", {"name": printable(name)})
    _count(suite, cases)
    suite.set("skipped", str(sum(case.result == "skipped" for case in cases)))
    for case in cases:
        element = ElementTree.SubElement(
            suite,
            "testcase",
            {
                "classname": printable(f"{package}.{name}"),
                "name": printable(case.name),
                "time": f"{case.seconds:.3f}",
            },
        )
        if case.result is not None:
            outcome = ElementTree.SubElement(
                element, case.result, {"message": printable(case.message)}
            )
            outcome.text = printable(case.text) or None
            if case.result != "skipped":
                outcome.set("type", name)
        elif case.text:
            ElementTree.SubElement(element, "system-out").text = printable(case.text)


def _count(element: ElementTree.Element, cases: list[Case]) -> None:
    element.set("tests", str(len(cases)))
    element.set("failures", str(sum(case.result == "failure" for case in cases)))
    element.set("errors", str(sum(case.result == "error" for case in cases)))
    element.set("time", f"{sum(case.seconds for case in cases):.3f}")
