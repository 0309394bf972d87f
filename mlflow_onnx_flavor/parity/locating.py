"""Locating: choose the rows of a report to examine, and the reference for the candidate."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from mlflow_onnx_flavor.artifact.saved_model import CandidateFolder, graph_file
from mlflow_onnx_flavor.onnx_graph.structure import read_structure
from mlflow_onnx_flavor.schemas.evidence import ParityRow
from mlflow_onnx_flavor.schemas.origins import EXTREME_PROBES

# Files of more bytes than this are not read again to expose their inner values.
_MOST_BYTES = 500_000_000

Layers = Callable[[], Mapping[str, Any]]


def worth_locating(rows: Sequence[ParityRow]) -> ParityRow | None:
    """Return the first row of one candidate on one provider whose answers differ."""
    for row in sorted(rows, key=lambda row: -row.batch_size):
        if row.status == "measured" and row.worst and row.inputs != EXTREME_PROBES:
            return row
    return None


def reference_for(
    row: ParityRow,
    candidate: CandidateFolder,
    agreeing: CandidateFolder | None,
    agrees_on_cpu: bool,
    layers: Layers,
) -> dict[str, Any] | None:
    """Return the reference that `tasks.locate` compares ``candidate`` with; None if there is none.

    ``agreeing``: a candidate that agrees with the source.  ``agrees_on_cpu``: whether this
    candidate agrees on the CPU.  ``layers``: calls the source for the answers of its layers on the
    rows that differ.
    """
    file = graph_file(candidate.folder)
    if file.stat().st_size > _MOST_BYTES or _is_quantized(file):
        return None
    if agrees_on_cpu:
        return {"what": "the same file on the CPU", "path": str(candidate.folder)}
    if agreeing is not None and agreeing.identity.name != candidate.identity.name:
        what = f"candidate {agreeing.identity.name}"
        return {"what": what, "path": str(agreeing.folder)}
    found = layers()
    return {"what": "the source's layers", "layers": found} if found else None


def _is_quantized(file: Path) -> bool:
    """Return whether the graph computes in integers by design, so that every such node differs."""
    kinds = {node.op_type for node in read_structure(file).graph.node}
    return bool(kinds & {"DynamicQuantizeLinear", "MatMulInteger", "QuantizeLinear", "QLinearConv"})
