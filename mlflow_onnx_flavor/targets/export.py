"""Export: write an ONNX model for a target, prove it, and only then move it to its place.

An export that differs, fails or is refused leaves nothing behind.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from mlflow_onnx_flavor import targets
from mlflow_onnx_flavor.artifact.digests import digest_of
from mlflow_onnx_flavor.artifact.saved_model import graph_file
from mlflow_onnx_flavor.errors import (
    ConfigurationError,
    GateFailedError,
    InvalidDataError,
    MissingFrameworkError,
    OnnxFlavorError,
    one_line,
)
from mlflow_onnx_flavor.inputs import Inputs
from mlflow_onnx_flavor.onnx_graph.files import copy_model
from mlflow_onnx_flavor.processes.worker import Worker
from mlflow_onnx_flavor.schemas.configuration import ParityGate
from mlflow_onnx_flavor.schemas.origins import EXTREME_PROBES
from mlflow_onnx_flavor.targets import proof
from mlflow_onnx_flavor.targets.base import check_installed
from mlflow_onnx_flavor.targets.logged_form import write_mlmodel
from mlflow_onnx_flavor.targets.report import REPORT_FILE, ExportReport

# The rows of the example that a program is traced with: tracers take 0 and 1 for constants.
_TRACED_ROWS = 3


@dataclass(frozen=True)
class ModelToExport:
    """The model to export and the rows to compare it on.

    ``path``: a model folder or an ``.onnx`` file.  ``data``: the rows.
    """

    path: Path
    uri: str
    data: Sequence[Inputs] = ()


@dataclass(frozen=True)
class Settings:
    """Settings of an export.

    ``fixed``: sizes of open axes by name.  ``probe_seed``: None to make no probes.
    """

    fixed: Mapping[str, int] = field(default_factory=dict)
    precision: str = "float32"
    gate: ParityGate = field(default_factory=ParityGate)
    batch_sizes: tuple[int, ...] = (1, 32)
    probe_seed: int | None = 0


def export(model: ModelToExport, target: str, output: Path, settings: Settings) -> ExportReport:
    """Write ``model`` for ``target`` into the folder ``output``, which must be absent or empty.

    Raises ConfigurationError, MissingFrameworkError, UnsupportedModelError and, if the answers
    differ from ONNX Runtime's, GateFailedError; nothing is left in ``output`` then.
    """
    check_installed(target, targets.get(target))
    _check(target, output, settings)
    output.parent.mkdir(parents=True, exist_ok=True)
    with (
        tempfile.TemporaryDirectory(prefix=".mlflow-onnx-export-", dir=output.parent) as work,
        proof.Reference(model.path) as reference,
    ):
        made = Path(work) / "made"
        report = _exported(model, target, made, settings, reference)
        if report.outcome == "differs":
            raise GateFailedError(
                f"the model differs in the target {target!r}, so it is not exported: {report.cause}"
            )
        if output.exists():
            output.rmdir()
        made.rename(output)
    return report


def try_all(
    model: ModelToExport, names: Sequence[str], settings: Settings
) -> tuple[ExportReport, ...]:
    """Return a report for each target, the table "where this model runs"; nothing is kept."""
    with (
        tempfile.TemporaryDirectory(prefix="mlflow-onnx-targets-") as work,
        proof.Reference(model.path) as reference,
    ):
        return tuple(_tried(model, name, Path(work) / name, settings, reference) for name in names)


def _tried(
    model: ModelToExport, name: str, made: Path, settings: Settings, reference: proof.Reference
) -> ExportReport:
    try:
        check_installed(name, targets.get(name))
        made.parent.mkdir(exist_ok=True)
        return _exported(model, name, made, settings, reference)
    except MissingFrameworkError as error:
        outcome, cause = "not installed", one_line(error)
    except OnnxFlavorError as error:
        outcome, cause = "refused", one_line(error)
    return ExportReport(target=name, versions={}, outcome=outcome, cause=cause)


def _check(target: str, output: Path, settings: Settings) -> None:
    if output.exists() and (not output.is_dir() or any(output.iterdir())):
        raise ConfigurationError(
            f"{str(output)!r} is not empty; give a folder that is not there yet"
        )
    known = targets.get(target).precisions
    if settings.precision not in known:
        raise ConfigurationError(
            f"the target {target!r} has no precision {settings.precision!r}; it has"
            f" {', '.join(known)}"
        )


def _exported(
    model: ModelToExport,
    target: str,
    made: Path,
    settings: Settings,
    reference: proof.Reference,
) -> ExportReport:
    """Write the model into ``made`` and compare it."""
    chosen = targets.get(target)
    rows = reference.rows(model.data, settings.probe_seed)
    if not rows and not chosen.lossless:
        raise InvalidDataError(
            f"{model.uri!r} has no input example, so there is nothing to prove the target"
            f" {target!r} on; give --data FILE"
        )
    sizes = (settings.fixed.get("batch"),) if settings.fixed.get("batch") else settings.batch_sizes
    made.mkdir()
    with tempfile.TemporaryDirectory(prefix="mlflow-onnx-model-") as copy:
        source = Path(copy) / "model.onnx"
        copy_model(graph_file(model.path), source)
        with Worker(name=f"the {target} exporter") as worker:
            facts = worker.call(
                f"{proof.TASKS}:write",
                {
                    "target": target,
                    "model": source,
                    "folder": made,
                    "example": _example(rows, settings.fixed),
                    "fixed": dict(settings.fixed),
                    "precision": settings.precision,
                },
                timeout_s=proof.TIMEOUT_S,
            )
    known = {
        "target": target,
        "model_uri": model.uri,
        "model_digest": digest_of(model.path),
        "versions": facts["versions"],
        "labels": {name: tuple(texts) for name, texts in facts["labels"].items()},
        "replaced": facts["replaced"],
    }
    if rows:
        known |= _proved(target, made, rows, sizes, settings.gate, reference, known["labels"])
    else:
        known["outcome"] = "written"
    if rows and chosen.modules:
        write_mlmodel(chosen, made, rows[0].feeds, reference.answers(rows[0], sizes[-1]))
    report = ExportReport(
        **known, digest=digest_of(made), inputs=tuple(rows[0].feeds) if rows else ()
    )
    (made / REPORT_FILE).write_text(report.model_dump_json(indent=2))
    return report


def _proved(
    target: str,
    made: Path,
    rows: Sequence[proof.Rows],
    sizes: Sequence[int],
    gate: ParityGate,
    reference: proof.Reference,
    labels: Mapping[str, Sequence[str]],
) -> dict[str, Any]:
    """Return outcome, cause and evidence, from a process that has only the target."""
    with Worker(name=f"the {target} process") as worker:
        arguments = {"target": target, "folder": made}
        worker.call(f"{proof.RUNNER}:open_target", arguments, timeout_s=proof.TIMEOUT_S)
        judged = [each for each in rows if gate.extreme_probes or each.origin != EXTREME_PROBES]
        parity = proof.compare(worker, target, reference, judged, sizes, labels)
        findings = proof.judge(target, parity, gate)
        failed = [each for each in findings if not each.passed]
        if failed:
            cause = f"{failed[0].measured}, required: {failed[0].required}"
            cause += f" ({failed[0].reason})" if failed[0].reason else ""
            return {"outcome": "differs", "cause": cause, "parity": parity, "findings": findings}
        speed = proof.measure_speed(worker, reference, rows[0], sizes)
    return {"outcome": "right", "parity": parity, "findings": findings, "speed": speed}


def _example(rows: Sequence[proof.Rows], fixed: Mapping[str, int]) -> dict[str, np.ndarray]:
    """Return rows for tracing, repeated if there are not enough."""
    if not rows:
        return {}
    count = fixed.get("batch", _TRACED_ROWS)
    at = np.arange(count) % rows[0].count
    return {name: array[at] for name, array in rows[0].feeds.items()}
