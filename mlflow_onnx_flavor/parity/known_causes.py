"""What is known of a provider that differs: the cause, and the option that cures it."""

from __future__ import annotations

import json

from mlflow_onnx_flavor.evidence import ExecutionProvider, OutputParity

_OPENVINO = "OpenVINOExecutionProvider"
_F32_HINT = json.dumps({"CPU": {"INFERENCE_PRECISION_HINT": "f32"}})


def cause_and_remedy(
    provider: ExecutionProvider, outputs: tuple[OutputParity, ...]
) -> tuple[str, str]:
    """Cause and remedy for outputs that leave their tolerance; ("", "") where none is known."""
    beyond = [each for each in outputs if each.disagreements(each.auto_tolerance)]
    hinted = "INFERENCE_PRECISION_HINT" in provider.options.get("load_config", "")
    if provider.name == _OPENVINO and not hinted and beyond:
        return (
            "OpenVINO computes in the precision that this CPU is fastest in, such as bf16, unless"
            " it is told otherwise",
            f"give it the option load_config: '{_F32_HINT}'",
        )
    return "", ""
