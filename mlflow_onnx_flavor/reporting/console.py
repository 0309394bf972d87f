"""The terminal's summary of a release, or of one measurement of it, when it has ended.

print_summary(summary, file=sys.stdout, report_location="...", ui_command="mlflow ui ...")
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TextIO

from mlflow_onnx_flavor.formatting import numbers
from mlflow_onnx_flavor.formatting.provider_names import ProviderNames, short
from mlflow_onnx_flavor.gates import is_judged
from mlflow_onnx_flavor.reporting import headline
from mlflow_onnx_flavor.reporting.progress import Progress
from mlflow_onnx_flavor.reporting.tables import (
    latency as latency_tables,
)
from mlflow_onnx_flavor.reporting.tables import (
    parity as tables,
)
from mlflow_onnx_flavor.reporting.tables import (
    probes as probe_tables,
)
from mlflow_onnx_flavor.reporting.tables.latency import speedup_cell
from mlflow_onnx_flavor.reporting.tables.noise import noise_note
from mlflow_onnx_flavor.reporting.tables.parity import Cell, Table
from mlflow_onnx_flavor.reporting.terminal import Block, print_blocks
from mlflow_onnx_flavor.schemas.evidence import LatencyReport, ParityReport
from mlflow_onnx_flavor.schemas.summary import ReleaseSummary, SourceSummary
from mlflow_onnx_flavor.schemas.verdict import Finding

__all__ = ["Progress", "print_latency", "print_parity", "print_summary"]

OUTCOME_TONES = {"passed": "good", "failed": "bad", "stopped": "warn"}


def print_summary(
    summary: ReleaseSummary,
    *,
    file: TextIO,
    rich: bool | None = None,
    report_location: str = "",
    ui_command: str = "",
) -> None:
    """Print the outcome of the release.

    ``rich``: None to lay text out for a terminal only if ``file`` is one.
    """
    verdict, shown = summary.verdict, headline.reported_candidates(summary)
    findings = verdict.of(verdict.chosen) if verdict and verdict.chosen else ()
    if verdict is not None and verdict.chosen is None:
        findings = verdict.failures()
    of_candidate = f", candidate {next(iter(shown))}" if len(shown) == 1 else ""
    places = (("report", report_location), ("MLflow UI", ui_command), ("run", summary.run_url))
    blocks = (
        Block("Conversion", None, tuple(_conversion_lines(summary))),
        Block(f"Parity with the source{of_candidate}", _parity_table(summary)),
        Block("Rows that differ most", probe_tables.worst_table(summary, shown)),
        Block("Causes and remedies", None, tuple(_problem_lines(summary))),
        Block(f"Latency{of_candidate}{_interval_title(summary)}", _latency_table(summary)),
        Block("Noise", None, tuple(_noise_lines(summary))),
        Block(f"Gates{of_candidate}", _gates_table(findings, summary)),
        Block("Not chosen", None, tuple(_other_candidates(summary))),
        Block("Result", None, tuple(_result_lines(summary))),
        Block("Where to look", None, tuple(Cell(f"{a}: {b}") for a, b in places if b)),
    )
    print_blocks(blocks, file, rich)


def print_parity(
    report: ParityReport, findings: Iterable[Finding], *, file: TextIO, rich: bool | None = None
) -> None:
    """Print a parity report that stands alone, and the findings of its gate."""
    summary = ReleaseSummary(source=SourceSummary(uri=report.source.uri), parity=report)
    blocks = (
        Block(f"Parity with {report.source.uri}", _without_gate(summary)),
        Block("Where the nodes ran", tables.placement_table(summary)),
        Block("Answers of another form", tables.form_table(summary)),
        Block("Rows that differ most", probe_tables.worst_table(summary, {"candidate"})),
        Block("Causes and remedies", None, tuple(_problem_lines(summary))),
        Block("Gates", _gates_table(findings, summary)),
    )
    print_blocks(blocks, file, rich)


def print_latency(
    report: LatencyReport, findings: Iterable[Finding], *, file: TextIO, rich: bool | None = None
) -> None:
    """Print a latency report that stands alone, and the findings of its gate."""
    summary = ReleaseSummary(source=SourceSummary(uri=report.source.uri), latency=report)
    blocks = (
        Block(f"Latency{_interval_title(summary)}", _latency_table(summary)),
        Block("Noise", None, tuple(_noise_lines(summary))),
        Block("With other numbers of threads", latency_tables.threads_table(summary)),
        Block("The session alone", latency_tables.paths_table(summary)),
        Block("Rows a second, offline", latency_tables.offline_table(summary)),
        Block("Queries that arrive at random", latency_tables.server_table(summary)),
        Block("", None, tuple(map(Cell, latency_tables.capacity_lines(summary)))),
        Block("Load time, memory, size", latency_tables.load_table(summary)),
        Block("Causes and remedies", None, tuple(_problem_lines(summary))),
        Block("Gates", _gates_table(findings, summary)),
    )
    print_blocks(blocks, file, rich)


def _without_gate(summary: ReleaseSummary) -> Table:
    """Return the parity table without what depends on a tolerance: the gates below show that."""
    return tables.parity_table(summary).without("Differ", "Tolerance")


def _interval_title(summary: ReleaseSummary) -> str:
    return f": times as fast with its {latency_tables.confidence(summary)} interval"


def _conversion_lines(summary: ReleaseSummary) -> Iterator[Cell]:
    source, conversion = summary.source, summary.conversion
    framework = f" ({source.framework})" if source.framework else ""
    resolved = source.resolved_uri not in ("", source.uri)
    yield Cell(f"source: {source.uri}{f' = {source.resolved_uri}' if resolved else ''}{framework}")
    if summary.data is not None:
        path = f" ({summary.data.path})" if summary.data.path else ""
        yield Cell(f"data: {summary.data.name}{path}, {numbers.count(summary.data.rows)} rows")
    if conversion and conversion.environment_note:
        yield Cell(f"environment: {conversion.environment_note}")
    for attempt in conversion.attempts if conversion else ():
        if attempt.outcome == "not tried":
            continue
        made_by = f"{attempt.exporter} {attempt.exporter_version}".strip()
        opset = f"opset {conversion.opset}" if conversion and conversion.opset else ""
        if attempt.outcome == "converted":
            how = ", ".join(filter(None, (made_by, opset, numbers.duration(attempt.seconds))))
            yield Cell(f"converted: {attempt.strategy} ({how})", "good")
            if attempt.cause:
                yield Cell(f"doubtful: {attempt.cause}", "warn")
        else:
            how = ", ".join(filter(None, (made_by, numbers.duration(attempt.seconds))))
            why = ": ".join(filter(None, (attempt.outcome, attempt.cause)))
            yield Cell(f"tried: {attempt.strategy} ({how}): {why}", "warn")
    for skipped in summary.skipped:
        yield Cell(f"candidate {skipped.name} was not built: {skipped.reason}", "warn")


def _parity_table(summary: ReleaseSummary) -> Table:
    names, candidates = ProviderNames(summary), headline.reported_candidates(summary)
    rows = []
    for row in summary.parity.rows if summary.parity else ():
        if row.candidate not in candidates:
            continue
        differing = [tables.rows_that_differ(output, summary) for output in row.outputs]
        errors = [o.max_absolute_error for o in row.outputs if o.kind == "scores"]
        rows.append(
            (
                _candidate_cell(row.candidate, candidates),
                names.short(row.execution_provider),
                row.inputs,
                numbers.count(row.batch_size),
                numbers.count(row.rows),
                tables.differing_cell(max(differing)) if differing else "-",
                numbers.scientific(max(errors)) if errors else "-",
                tables.status_cell(row),
            )
        )
    titles = ["candidate", "provider", "inputs", ">batch", ">rows", ">differ", ">worst error"]
    return tables.table([*titles, "status"], rows)


def _latency_table(summary: ReleaseSummary) -> Table:
    names, candidates = ProviderNames(summary), headline.reported_candidates(summary)
    rows = []
    for row in summary.latency.rows if summary.latency else ():
        if row.candidate not in candidates or row.baseline in candidates or not is_judged(row):
            continue
        mine, baseline = row.candidate_figures, row.baseline_figures
        rows.append(
            (
                _candidate_cell(row.candidate, candidates),
                names.short(row.execution_provider),
                numbers.count(row.batch_size),
                tables.length_cell(row),
                row.baseline,
                numbers.significant(baseline.p50_ms) if baseline else "-",
                numbers.significant(mine.p50_ms) if mine else "-",
                numbers.significant(mine.p99_ms) if mine else "-",
                speedup_cell(row.speedup) if row.speedup else tables.status_cell(row),
                speedup_cell(row.p99_speedup) if row.p99_speedup else "",
            )
        )
    titles = ["candidate", "provider", ">batch", ">length", "against", ">its p50 ms", ">p50 ms"]
    return tables.table([*titles, ">p99 ms", ">times as fast", ">at p99"], rows)


def _noise_lines(summary: ReleaseSummary) -> Iterator[Cell]:
    note = noise_note(summary.latency.surroundings if summary.latency else None)
    if note:
        yield Cell(note, "warn")


def _gates_table(findings: Iterable[Finding], summary: ReleaseSummary) -> Table:
    findings = tuple(findings)
    candidates = frozenset(finding.candidate for finding in findings)
    causes = [problem.cause for problem in tables.problems(summary) if problem.cause]
    return tables.table(
        ["", "candidate", "gate", "provider", ">batch", ">length", "measured", "required", "why"],
        (
            (
                Cell("pass", "good") if finding.passed else Cell("FAIL", "bad"),
                _candidate_cell(finding.candidate, candidates),
                finding.gate,
                short(finding.execution_provider),
                "-" if finding.batch_size is None else numbers.count(finding.batch_size),
                tables.length_cell(finding),
                finding.measured,
                finding.required,
                # Causes are listed once, under the parity table.
                "" if any(cause in finding.reason for cause in causes) else finding.reason,
            )
            for finding in findings
        ),
    )


def _candidate_cell(candidate: str, shown: frozenset[str]) -> str:
    """Return the candidate's name; "" if the title names the only one, which drops the column."""
    return candidate if len(shown) > 1 else ""


def _problem_lines(summary: ReleaseSummary) -> Iterator[Cell]:
    candidates = headline.reported_candidates(summary)
    for problem in tables.problems(summary, candidates):
        places = ", ".join(problem.places)
        remedy = f"; remedy: {problem.remedy}" if problem.remedy else ""
        yield Cell(f"{places}: {problem.cause}{remedy}", "warn")


def _other_candidates(summary: ReleaseSummary) -> Iterator[Cell]:
    if summary.verdict is None or summary.verdict.chosen is None:
        return
    for name in headline.judged_candidates(summary)[1:]:
        yield Cell(f"{name}: {headline.why_not_chosen(summary, name)}")


def _result_lines(summary: ReleaseSummary) -> Iterator[Cell]:
    tone = OUTCOME_TONES[headline.outcome(summary)]
    yield Cell(headline.sentence(summary), tone)
    registered = summary.registered
    if registered is not None:
        yield Cell(f"registered: {registered.name} version {registered.version}, {registered.uri}")
    if headline.outcome(summary) == "passed":
        yield Cell(f"alias: {headline.alias_change(summary)}")
    for note in summary.notes:
        yield Cell(f"note: {note}")
    for step in headline.next_steps(summary):
        yield Cell(f"next: {step}")
