"""Tables of a report, as rows of text; HTML and terminal only lay them out.

A cell has a tone if its meaning is more than its text: "good", "bad", "warn" or "muted".
"""

from __future__ import annotations

import itertools
from collections.abc import Container, Iterable, Sequence
from dataclasses import dataclass, field

from mlflow_onnx_flavor.formatting import numbers
from mlflow_onnx_flavor.formatting.provider_names import ProviderNames
from mlflow_onnx_flavor.gates import tolerance_of
from mlflow_onnx_flavor.schemas.evidence import Environment, OutputParity
from mlflow_onnx_flavor.schemas.summary import ReleaseSummary
from mlflow_onnx_flavor.schemas.verdict import Finding

NOTHING = "–"  # an en dash: the cell does not apply


@dataclass(frozen=True)
class Cell:
    """The text of a table's cell and its tone, "" for none."""

    text: str
    tone: str = ""


@dataclass(frozen=True)
class Column:
    """The title of a column; ``numeric`` columns are aligned to the right."""

    title: str
    numeric: bool = False


@dataclass(frozen=True)
class Table:
    """A table: its columns, and a cell for each of them in every row."""

    columns: tuple[Column, ...]
    rows: tuple[tuple[Cell, ...], ...]

    def __bool__(self) -> bool:
        return bool(self.rows)

    def without(self, *titles: str) -> Table:
        """Return the table without the columns that have these titles."""
        kept = [column.title not in titles for column in self.columns]
        return Table(
            tuple(itertools.compress(self.columns, kept)),
            tuple(tuple(itertools.compress(row, kept)) for row in self.rows),
        )


@dataclass(frozen=True)
class Problem:
    """A cause, its remedy, and where it was seen."""

    cause: str
    remedy: str
    places: tuple[str, ...] = field(default=())


def table(titles: Sequence[str], rows: Iterable[Iterable[Cell | str]]) -> Table:
    """Return a table without the columns that are empty in every row.

    ``titles``: a column whose title starts with ">" holds figures and is aligned to the right.
    """
    cells = [tuple(map(_cell, row)) for row in rows]
    used = [any(row[place].text for row in cells) for place in range(len(titles))]
    columns = [Column(title.removeprefix(">"), title.startswith(">")) for title in titles]
    return Table(
        tuple(itertools.compress(columns, used)),
        tuple(tuple(itertools.compress(row, used)) for row in cells),
    )


def gates_table(findings: Iterable[Finding]) -> Table:
    """Return the table of findings: a row for each gate, provider and batch size."""
    return table(
        [
            "Gate",
            "Execution provider",
            ">Batch",
            ">Length",
            "Result",
            "Measured",
            "Required",
            "Reason",
        ],
        (
            (
                finding.gate,
                finding.execution_provider,
                NOTHING if finding.batch_size is None else numbers.count(finding.batch_size),
                length_cell(finding),
                Cell("passed", "good") if finding.passed else Cell("failed", "bad"),
                finding.measured,
                finding.required,
                finding.reason,
            )
            for finding in findings
        ),
    )


def parity_table(summary: ReleaseSummary) -> Table:
    """Return the table of parity: a row for each output in each comparison."""
    names = ProviderNames(summary)
    of_place = ["Candidate", "Execution provider", "Inputs", ">Batch", ">Rows", "Status"]
    of_output = ["Output", ">Differ", ">Tolerance", ">Max abs", ">p99.9 abs"]
    of_output += [">Max rel", ">p99.9 rel", "Type", "Shape"]
    rows = []
    for row in summary.parity.rows if summary.parity else ():
        place = (
            row.candidate,
            names.full(row.execution_provider),
            row.inputs,
            numbers.count(row.batch_size),
            numbers.count(row.rows),
            status_cell(row),
        )
        rows += [place + _output_cells(output, summary) for output in row.outputs]
        if not row.outputs:
            rows.append(place + (Cell(NOTHING, "muted"),) * len(of_output))
    return table(of_place + of_output, rows)


def form_table(summary: ReleaseSummary) -> Table:
    """Return the table of pyfunc answers whose form differs from the source's."""
    found: dict[tuple[str, ...], None] = {}
    for row in summary.parity.rows if summary.parity else ():
        for difference in row.form_differences:
            key = (row.candidate, difference.what, difference.source, difference.candidate)
            found[key] = None
    return table(["Candidate", "What", "Source", "Candidate's answer"], found)


def problems(
    summary: ReleaseSummary, candidates: Container[str] | None = None
) -> tuple[Problem, ...]:
    """Return causes and remedies of the parity and latency rows, each once, with where it was seen.

    ``candidates``: the candidates to include; None for all.
    """
    names = ProviderNames(summary)
    seen: dict[tuple[str, str], dict[str, dict[str, None]]] = {}
    for kind, report in (("parity", summary.parity), ("latency", summary.latency)):
        for row in report.rows if report else ():
            remedy = getattr(row, "remedy", "")
            wanted = candidates is None or row.candidate in candidates
            if wanted and (row.cause or remedy):
                place = f"on {names.full(row.execution_provider)} ({kind})"
                places = seen.setdefault((row.cause, remedy), {})
                places.setdefault(place, {})[row.candidate] = None
    return tuple(
        Problem(cause, remedy, tuple(f"{', '.join(who)} {place}" for place, who in places.items()))
        for (cause, remedy), places in seen.items()
    )


def placement_table(summary: ReleaseSummary) -> Table:
    """Return the table of how many nodes of each candidate's graph each provider ran."""
    names = ProviderNames(summary)
    found: dict[tuple[str | Cell, ...], None] = {}
    for row in summary.parity.rows if summary.parity else ():
        nodes = sum(row.placement.values())
        if not nodes:
            continue
        own = row.placement.get(row.execution_provider.name, 0)
        share = Cell(numbers.percent(own / nodes), "good" if own == nodes else "warn")
        where = ", ".join(
            f"{name}: {numbers.count(number)}" for name, number in sorted(row.placement.items())
        )
        key = (row.candidate, names.full(row.execution_provider))
        found[(*key, numbers.count(nodes), where, share)] = None
    return table(
        ["Candidate", "Asked for", ">Nodes", "Nodes that ran on", ">Share as asked"], found
    )


def attempts_table(summary: ReleaseSummary) -> Table:
    """Return the table of the export strategies of the conversion and their outcomes."""
    tones = {"converted": "good", "not tried": "muted"}
    return table(
        ["Strategy", "Outcome", ">Time", "Cause", "Remedy", "Why it was tried", "Exporter"],
        (
            (
                attempt.strategy,
                Cell(attempt.outcome, tones.get(attempt.outcome, "bad")),
                NOTHING if attempt.outcome == "not tried" else numbers.duration(attempt.seconds),
                attempt.cause,
                attempt.remedy,
                attempt.why,
                f"{attempt.exporter} {attempt.exporter_version}".strip(),
            )
            for attempt in (summary.conversion.attempts if summary.conversion else ())
        ),
    )


def skipped_table(summary: ReleaseSummary) -> Table:
    """Return the table of candidates that were skipped, and why."""
    return table(["Candidate", "Why"], ((skip.name, skip.reason) for skip in summary.skipped))


def options_table(summary: ReleaseSummary) -> Table:
    """Return the table of the options that each execution provider and its session got."""
    names = ProviderNames(summary)
    return table(
        ["Execution provider", "Option", "Value"],
        (
            (names.full(provider), option, str(value))
            for provider in names.providers
            for options in (dict(sorted(provider.options.items())), provider.session_settings)
            for option, value in options.items()
        ),
    )


def steps_table(summary: ReleaseSummary) -> Table:
    """Return the table of the release's steps, their durations and runs."""
    return table(
        ["Step", ">Time", "Run", ""],
        (
            (
                step.name,
                numbers.duration(step.seconds),
                step.run_id or NOTHING,
                Cell("reused from an earlier run", "muted") if step.reused else "",
            )
            for step in summary.steps
        ),
    )


def environment_table(environment: Environment) -> Table:
    """Return the table of the machine and the library versions; unknown facts are left out."""
    rows = [
        ("Python", environment.python),
        ("Platform", environment.platform),
        ("Processor", environment.cpu),
        ("Instruction sets", " ".join(environment.cpu_flags)),
        ("Frequency governor", environment.governor),
        ("Cores allowed", numbers.count(environment.cores_allowed)),
        ("Memory", numbers.byte_size(environment.memory_bytes)),
    ]
    known = [row for row in rows if row[1]]
    return table(["", ""], known + sorted(environment.versions.items()))


def environments(summary: ReleaseSummary) -> tuple[tuple[str, Environment], ...]:
    """Return title and environment; one if parity and latency were measured in the same."""
    found: dict[str, Environment] = {}
    for title, report in (("Parity", summary.parity), ("Latency", summary.latency)):
        if report is not None:
            found[title] = report.environment
    if len(found) == 2 and found["Parity"] == found["Latency"]:
        return (("Parity and latency", found["Parity"]),)
    return tuple(found.items())


def length_cell(row) -> str:
    """Return the sequence length of a row or finding; "" if inputs kept their length."""
    return "" if row.sequence_length is None else numbers.count(row.sequence_length)


def status_cell(row) -> Cell:
    """Return the status of a row with its tone."""
    tones = {"measured": "good", "fell back": "warn", "skipped": "muted"}
    return Cell(row.status, tones.get(row.status, "bad"))


def differing_cell(rows: int) -> Cell:
    """Return the number of rows that differ, toned "bad" unless it is 0."""
    return Cell(numbers.count(rows), "bad" if rows else "good")


def rows_that_differ(output: OutputParity, summary: ReleaseSummary) -> int:
    """Return how many rows differ from the source by more than the release tolerates."""
    return output.disagreements(_tolerance(output, summary))


def _tolerance(output: OutputParity, summary: ReleaseSummary) -> float:
    if summary.verdict is None:
        return output.auto_tolerance
    return tolerance_of(output, summary.verdict.gates.parity)


def _tolerance_in_words(output: OutputParity, summary: ReleaseSummary) -> str:
    """Return the tolerance, with its basis if it is the automatic one."""
    tolerance = _tolerance(output, summary)
    number = numbers.scientific(tolerance)
    return f"{number} ({output.tolerance_from})" if tolerance == output.auto_tolerance else number


def _output_cells(output: OutputParity, summary: ReleaseSummary) -> tuple[Cell | str, ...]:
    dtype = _arrow(output.source_dtype, output.candidate_dtype)
    shape = _arrow(_shape(output.source_shape), _shape(output.candidate_shape))
    if output.kind == "labels" or not output.same_shape:
        errors: tuple[Cell, ...] = (Cell(NOTHING, "muted"),) * 4
        tolerance = Cell(NOTHING, "muted")
    else:
        errors = tuple(
            Cell(numbers.scientific(error))
            for error in (
                output.max_absolute_error,
                output.p999_absolute_error,
                output.max_relative_error,
                output.p999_relative_error,
            )
        )
        tolerance = Cell(_tolerance_in_words(output, summary))
    differing = differing_cell(rows_that_differ(output, summary))
    if output.nonfinite_mismatches:
        number = numbers.count(output.nonfinite_mismatches)
        differing = Cell(f"{differing.text} ({number} by NaN or infinity)", "bad")
    shape_cell = Cell(shape, "" if output.same_shape else "bad")
    return (output.name, differing, tolerance, *errors, dtype, shape_cell)


def _arrow(source: str, candidate: str) -> str:
    return source if source == candidate else f"{source} → {candidate}"


def _shape(shape: tuple[int, ...]) -> str:
    return "×".join(map(str, shape)) or "scalar"


def _cell(value: Cell | str) -> Cell:
    return value if isinstance(value, Cell) else Cell(value)
