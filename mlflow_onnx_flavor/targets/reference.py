"""The reference: ONNX Runtime on the CPU, which every target is compared with."""

from __future__ import annotations

from pathlib import Path

from mlflow_onnx_flavor.onnx_graph.outputs import as_arrays
from mlflow_onnx_flavor.targets.base import Arrays, Run


def open_model(model: Path) -> Run:
    """Return a function from the graph's inputs to its outputs, as arrays, on the CPU provider."""
    from mlflow_onnx_flavor.scoring.opening import open_session

    session = open_session(model, [{"name": "CPUExecutionProvider"}], {})
    names = [each.name for each in session.get_outputs()]
    # Computed once: sequences and maps need the graph's file, which may be gone later.
    tensors = all(each.type.startswith("tensor") for each in session.get_outputs())

    def run(inputs: Arrays) -> dict:
        answers = dict(zip(names, session.run(None, dict(inputs)), strict=True))
        return answers if tensors else as_arrays(answers, model)

    return run
