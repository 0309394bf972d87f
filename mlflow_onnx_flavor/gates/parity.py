"""The parity gate: how many rows may differ, and with which confidence."""

from __future__ import annotations

from collections.abc import Iterable
from math import ceil, log, log1p

from mlflow_onnx_flavor.errors import ConfigurationError
from mlflow_onnx_flavor.formatting import numbers
from mlflow_onnx_flavor.schemas.configuration import ParityGate
from mlflow_onnx_flavor.schemas.evidence import (
    ExecutionProvider,
    OutputParity,
    ParityReport,
    ParityRow,
)
from mlflow_onnx_flavor.schemas.origins import (
    EVALUATION_DATA,
    EXTREME_PROBES,
    INPUT_EXAMPLE,
    is_probe,
)
from mlflow_onnx_flavor.schemas.verdict import NOT_ENOUGH, Finding, measured_on, rows_of

PYFUNC = "pyfunc"  # the name of the pyfunc's answer, followed by a key where it has several


def judge_parity(report: ParityReport, gate: ParityGate) -> tuple[Finding, ...]:
    """Return the findings of the parity gate for every row of a report."""
    check_names(report, gate)
    return tuple(
        finding
        for name, provider in measured_on(report.rows)
        for finding in findings_on_parity(
            name, provider, rows_of(report.rows, name, provider), gate
        )
    )


def check_names(report: ParityReport, gate: ParityGate) -> None:
    """Raise ConfigurationError where the gate has a tolerance for an output that no model has."""
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
    """Return the rows that the gate judges: extreme probes only where the gate says so."""
    return [row for row in rows if gate.extreme_probes or row.inputs != EXTREME_PROBES]


def upper_bound(disagreements: int, rows: int, confidence: float) -> float:
    """Return a one-sided upper bound on the true disagreement rate (Clopper and Pearson, 1934)."""
    if rows == 0 or disagreements >= rows:
        return 1.0
    from scipy.special import betaincinv  # scipy.stats takes half a second more to import

    return float(betaincinv(disagreements + 1, rows - disagreements, confidence))


def rows_needed(bound: float, confidence: float) -> int:
    """Return how many agreeing rows bring the upper bound on the disagreement rate to ``bound``."""
    return ceil(log(1 - confidence) / log1p(-bound))


def tolerance_of(output: OutputParity, gate: ParityGate) -> float:
    """Return the tolerance on the scaled error that ``gate`` sets for this output.

    The pyfunc's answer ("pyfunc ...") is made from outputs that are judged under their own names,
    so where several tolerances are set it gets the widest.
    """
    asked = gate.tolerance
    if isinstance(asked, dict):
        if output.name.split(" ")[0] == PYFUNC and output.name not in asked:
            given = [output.auto_tolerance, *(each for each in asked.values() if each != "auto")]
            return max(given)
        asked = asked.get(output.name, "auto")
    return output.auto_tolerance if asked == "auto" else asked


def findings_on_parity(
    candidate: str, provider: ExecutionProvider, rows: list[ParityRow], gate: ParityGate
) -> Iterable[Finding]:
    """Yield the findings of one candidate on one provider.

    A row that is judged has one on parity, and one on form where the candidate answers in another
    form.  Without any row the finding is that nothing was measured.
    """

    def finding(
        name: str,
        row: ParityRow | None,
        passed: bool,
        measured: str,
        required: str,
        reason: str = "",
    ) -> Finding:
        return Finding(
            gate=name,
            candidate=candidate,
            execution_provider=str(provider),
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
    true_rate, most = numbers.apart(bound, bound if limit is None else limit, numbers.percent)
    measured = (
        f"{disagreements:,} of {worst.rows:,} {_rows_in_words(row)} differ in"
        f" {worst.name}{_ties(row)}"
        f" (true rate at most {true_rate}, {numbers.percent(gate.confidence)} confidence)"
    )
    probes = is_probe(row.inputs)
    rate = gate.max_probe_disagreement_rate if probes else gate.max_disagreement_rate
    required = f"at most {numbers.percent(rate)} of {'probes' if probes else 'rows'}"
    if worst.kind == "scores":
        required += f" beyond {numbers.scientific(tolerance)}"
    passed = disagreements <= rate * worst.rows
    reason = "" if passed else _why_different(row, worst)
    if limit is not None and row.inputs == EVALUATION_DATA:
        required += f", true rate at most {most}"
        if passed and bound > limit:
            passed = False
            needed = rows_needed(limit, gate.confidence)
            reason = f"{NOT_ENOUGH}: {needed:,} rows without a disagreement would be"
    return passed, measured, required, reason


def _rows_in_words(row: ParityRow) -> str:
    words = {EVALUATION_DATA: "rows", INPUT_EXAMPLE: "example rows"}
    return words.get(row.inputs, row.inputs)


def _ties(row: ParityRow) -> str:
    """Return words on label ties: labels differ, but the source scores both classes the same."""
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
