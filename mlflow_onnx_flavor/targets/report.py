"""The report of an export: stored beside it as ``export.json``, and printed as one table."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from pydantic import BaseModel, ConfigDict

from mlflow_onnx_flavor.schemas.evidence import ParityRow
from mlflow_onnx_flavor.schemas.verdict import Finding

REPORT_FILE = "export.json"

Outcome = Literal["right", "differs", "refused", "not installed", "written"]


class Speed(BaseModel):
    """Median seconds of one call of ``batch_size`` rows, by the target and by ONNX Runtime.

    Each was measured alone, on one machine, one after the other.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    batch_size: int
    target_seconds: float
    onnxruntime_seconds: float


class ExportReport(BaseModel):
    """The outcome of an export: "right" agrees under the gates, "written" had no rows to compare.

    ``labels``: for an output of text, which the target has as positions, the texts.  ``replaced``:
    operators that were rewritten, and how often.  ``model_digest``: that of the ONNX model;
    ``digest``: that of the export.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    target: str
    versions: Mapping[str, str]
    outcome: Outcome
    cause: str = ""
    model_uri: str = ""
    model_digest: str = ""
    digest: str = ""
    inputs: tuple[str, ...] = ()
    labels: Mapping[str, tuple[str, ...]] = {}
    replaced: Mapping[str, int] = {}
    parity: tuple[ParityRow, ...] = ()
    findings: tuple[Finding, ...] = ()
    speed: tuple[Speed, ...] = ()


def table_rows(reports: tuple[ExportReport, ...] | list[ExportReport]) -> list[tuple[str, ...]]:
    """Return the table "where this model runs": target, version, outcome, speed, cause."""
    return [
        (
            each.target,
            ", ".join(f"{name} {version}" for name, version in each.versions.items()) or "-",
            each.outcome,
            _speed(each),
            each.cause or _worst(each),
        )
        for each in reports
    ]


HEADINGS = ("target", "version", "outcome", "time of a call / ONNX Runtime's", "why")


def _speed(report: ExportReport) -> str:
    return (
        ", ".join(
            f"{each.target_seconds / each.onnxruntime_seconds:.2f} ({each.batch_size} rows)"
            for each in report.speed
        )
        or "-"
    )


def _worst(report: ExportReport) -> str:
    """Return the largest absolute error of the outputs, which bounds the scaled error."""
    scores = [each for row in report.parity for each in row.outputs if each.kind == "scores"]
    if not scores:
        return ""
    worst = max(scores, key=lambda each: each.max_absolute_error)
    return f"largest error {worst.max_absolute_error:.1e} in {worst.name}"
