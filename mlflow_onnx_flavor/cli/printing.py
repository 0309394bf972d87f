"""Output of verbs: one JSON document, or lines for a person."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from mlflow_onnx_flavor.cli.ending import DONE, GATE_FAILED
from mlflow_onnx_flavor.cli.output import print_document

if TYPE_CHECKING:
    from pydantic import BaseModel

    from mlflow_onnx_flavor.registry import Movement
    from mlflow_onnx_flavor.schemas.verdict import Finding
    from mlflow_onnx_flavor.targets.report import ExportReport


def print_json(document: object) -> None:
    """Print the one JSON document of ``--json``."""
    print_document(json.dumps(document, indent=2, ensure_ascii=False))


def print_environment(outcome: Any) -> None:
    """Print how the environment that the source ran in differs from its recorded one.

    ``outcome``: a conversion or an explanation.
    """
    from mlflow_onnx_flavor.source.environment import environment_note

    note = environment_note(outcome.differences, tuple(outcome.versions))
    if note:
        print(note)


def print_measured(
    report: BaseModel,
    findings: Sequence[Finding],
    as_json: bool,
    print_report: Callable[..., None],
) -> int:
    """Print a measurement with the findings of the gates; return the exit status."""
    passed = all(finding.passed for finding in findings)
    if as_json:
        print_json(
            {
                "passed": passed,
                "report": report.model_dump(mode="json"),
                "findings": [finding.model_dump(mode="json") for finding in findings],
            }
        )
    else:
        print_report(report, findings, file=sys.stdout)
    return DONE if passed else GATE_FAILED


def print_movement(movement: Movement, as_json: bool, verb: str) -> int:
    """Print the version that an alias points to; return the exit status."""
    if as_json:
        print_json(movement.model_dump())
        return DONE
    before = f"version {movement.moved_from}" if movement.moved_from else "none"
    print(
        f"alias {movement.alias!r} of {movement.name!r} {verb} to version {movement.moved_to}"
        f" (before: {before})"
    )
    return DONE


def print_where_it_runs(reports: Sequence[ExportReport]) -> None:
    """Print the table "where this model runs"."""
    from mlflow_onnx_flavor.formatting.text import plain_table
    from mlflow_onnx_flavor.targets.report import HEADINGS, table_rows

    print("Where this model runs:")
    print(plain_table(HEADINGS, table_rows(list(reports))))
