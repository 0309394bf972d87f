"""Known causes of a provider that differs or fails, each with its remedy."""

from __future__ import annotations

import json
from collections.abc import Sequence

from mlflow_onnx_flavor.schemas.evidence import ExecutionProvider, OutputParity, ParityRow, Status
from mlflow_onnx_flavor.scoring.runtimes import CPU

_OPENVINO = "OpenVINOExecutionProvider"
_PRECISION_HINT = "INFERENCE_PRECISION_HINT"
_F32_HINT = json.dumps({"CPU": {_PRECISION_HINT: "f32"}})


def cause_and_remedy(
    provider: ExecutionProvider, outputs: Sequence[OutputParity], share_on_cpu: float | None
) -> tuple[str, str]:
    """Return cause and remedy for outputs that leave their tolerance; ("", "") if unknown.

    ``share_on_cpu``: the share of rows on which the same candidate differs from its source on the
    CPU provider, for the same inputs; None if that was not measured.
    """
    share = share_that_differs(outputs)
    if share == 0 or provider.name == CPU:
        return "", ""
    if share_on_cpu is not None and share <= share_on_cpu:
        return f"the candidate differs on {CPU} as well, so {provider} is not the cause", ""
    if provider.name == _OPENVINO and _PRECISION_HINT not in provider.options.get(
        "load_config", ""
    ):
        return _reduced_precision(outputs, certain=share_on_cpu is not None)
    return "", ""


def share_that_differs(outputs: Sequence[OutputParity]) -> float:
    """Return the share of rows beyond the automatic tolerance, of the output that differs most."""
    return max((_beyond(output) / max(output.rows, 1) for output in outputs), default=0.0)


def share_of(row: ParityRow) -> float:
    """Return `share_that_differs` for a row; 1 if the row was not measured."""
    return share_that_differs(row.outputs) if row.status == "measured" else 1.0


def fell_back(provider: ExecutionProvider) -> tuple[str, str]:
    """Return cause and remedy for a ``provider`` that opened the model and runs nothing of it."""
    return (
        f"{provider} took none of the model's nodes: the CPU ran them all",
        "leave this provider out, or use one that knows the model's operators",
    )


def remedy_for(provider: ExecutionProvider, status: Status) -> str:
    """Return what to do about a row that ended with ``status`` before there was an answer."""
    if status == "timed out":
        return "give fewer evaluation rows" + _or_leave_out(provider)
    if status == "crashed":
        return f"try another version of the package that brings {provider}" + _or_leave_out(
            provider
        )
    if provider.name == CPU:
        return "mend what the cause names, and log the model again"
    return "mend what the cause names" + _or_leave_out(provider)


def _reduced_precision(outputs: Sequence[OutputParity], certain: bool) -> tuple[str, str]:
    # Rounding moves scores, and labels only along with them; it changes no shape.
    moved = any(output.kind == "scores" and _beyond(output) for output in outputs)
    if not moved or not all(output.same_shape for output in outputs):
        return "", ""
    verb = "computes" if certain else "may compute"
    return (
        f"OpenVINO {verb} in bf16 on this machine, the precision that its CPU is fastest in,"
        " unless it is told otherwise",
        f"give {_OPENVINO} the options {{load_config: '{_F32_HINT}'}}",
    )


def _beyond(output: OutputParity) -> int:
    return output.disagreements(output.auto_tolerance)


def _or_leave_out(provider: ExecutionProvider) -> str:
    return "" if provider.name == CPU else f", or leave {provider} out of execution_providers"
