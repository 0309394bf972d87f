"""Matching: pair each output of the source with the candidate's, and compare each pair."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from mlflow_onnx_flavor.comparison.label_ties import SCORES, tied_rows
from mlflow_onnx_flavor.comparison.outputs import compare_outputs, error_by_row
from mlflow_onnx_flavor.comparison.pyfunc_output import Answer, compare_forms
from mlflow_onnx_flavor.comparison.tolerance import Rounding, Roundings
from mlflow_onnx_flavor.onnx_graph.precision import Arithmetic
from mlflow_onnx_flavor.schemas.evidence import FormDifference, OutputParity, WorstRow

Outputs = Mapping[str, np.ndarray]

NOT_KNOWN: Roundings = {}
NO_SCALES: Mapping[str, float] = {}

# At most this many rows of each comparison are kept for inspection.
_MOST_WORST = 8


def compare_all(
    expected: Outputs,
    found: Outputs,
    arithmetic: Arithmetic,
    roundings: Roundings = NOT_KNOWN,
    scales: Mapping[str, float] = NO_SCALES,
    tied: np.ndarray | None = None,
) -> tuple[OutputParity, ...]:
    """Compare every output of the source with the candidate's, on the same rows.

    An output that the candidate lacks agrees on no row.  ``roundings``: the source's own rounding
    error, by output.  ``scales``: those of the whole outputs, if these are only some of their rows.
    ``tied``: the result of `label_ties.tied_rows` on the two, if the caller has it already.
    """
    if tied is None:
        tied = tied_rows(expected, found, arithmetic, roundings.get(SCORES))
    paired = pairs(list(expected), list(found))
    absent = np.empty((0,), np.float32)
    return tuple(
        compare_outputs(
            name,
            array,
            found.get(paired.get(name) or "", absent),
            arithmetic,
            roundings.get(name),
            tied,
            scales.get(name),
        )
        for name, array in expected.items()
    )


def worst_rows(
    expected: Outputs,
    found: Outputs,
    parities: Sequence[OutputParity],
    tied: np.ndarray | None,
    kinds: Sequence[str] = (),
) -> tuple[WorstRow, ...]:
    """Return the rows that differ most, of those that disagree beyond the automatic tolerance.

    ``parities``: the result of `compare_all`.  ``kinds``: the kind of each row, for probes.
    """
    paired = pairs(list(expected), list(found))
    apart: dict[int, WorstRow] = {}
    for parity in parities:
        if not parity.disagreements(parity.auto_tolerance) or parity.name not in paired:
            continue
        errors = error_by_row(expected[parity.name], found[paired[parity.name]])
        if parity.kind == "labels" and tied is not None and len(tied) == len(errors):
            errors = np.where(tied, 0.0, errors)
        for row in np.flatnonzero(errors > parity.auto_tolerance):
            known = apart.get(int(row))
            if known is None or errors[row] > known.error:
                apart[int(row)] = WorstRow(
                    row=int(row),
                    kind=kinds[int(row)] if kinds else "",
                    output=parity.name,
                    error=float(errors[row]),
                )
    return tuple(sorted(apart.values(), key=lambda each: -each.error)[:_MOST_WORST])


def pairs(expected: list[str], found: list[str]) -> dict[str, str]:
    """Return the candidate's output for each of the source's: by name, the rest by position."""
    left = [name for name in expected if name not in found]
    free = [name for name in found if name not in expected]
    same = {name: name for name in expected if name in found}
    return same | dict(zip(left, free, strict=False))


def missing_outputs(expected: Outputs, found: Outputs) -> str:
    """Return a sentence that names the outputs that the candidate lacks; "" if it has all."""
    paired = pairs(list(expected), list(found))
    missing = [name for name in expected if name not in paired]
    if not missing:
        return ""
    return f"the candidate has no output {', '.join(map(repr, missing))}; it gives {list(found)}"


def compare_answers(
    expected: Answer,
    found: Answer,
    arithmetic: Arithmetic,
    rounding: Rounding | None = None,
    tied: np.ndarray | None = None,
) -> tuple[tuple[FormDifference, ...], tuple[OutputParity, ...]]:
    """Compare what a consumer sees: differences of form, and the values if they can be compared.

    ``rounding``: the source's own rounding error, of the output that it moves most; ``tied``: the
    result of `label_ties.tied_rows` on the outputs of the same rows.
    """
    differences = tuple(compare_forms(expected, found))
    if len(expected["parts"]) != len(found["parts"]):
        return differences, ()
    parities = tuple(
        compare_outputs(
            f"pyfunc {key!r}" if key != "" else "pyfunc",
            left["values"],
            right["values"],
            arithmetic,
            rounding,
            tied,
        )
        for key, left, right in zip(
            expected["keys"], expected["parts"], found["parts"], strict=True
        )
    )
    return differences, parities
