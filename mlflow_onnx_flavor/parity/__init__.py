"""Parity: whether source and candidate give the same answers.

    from mlflow_onnx_flavor import parity

    report = parity.measure(folder, "sklearn", candidates, evaluation, example, providers, ...)

`compare` holds two outputs side by side; `measure` does so for every candidate on every provider.
"""

from mlflow_onnx_flavor.comparison.outputs import compare_outputs
from mlflow_onnx_flavor.parity.measure import measure

__all__ = ["compare_outputs", "measure"]
