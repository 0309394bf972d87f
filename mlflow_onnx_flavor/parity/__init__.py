"""Parity: measure whether source and candidate give the same answers.

    from mlflow_onnx_flavor import parity

    plan = parity.Plan(folder, "sklearn", candidates, evaluation, example, providers, ...)
    report = parity.measure(plan)

The package `comparison` compares two outputs; `measure` does so for every candidate on every
provider.
"""

from mlflow_onnx_flavor.comparison.outputs import compare_outputs
from mlflow_onnx_flavor.parity.measure import measure
from mlflow_onnx_flavor.parity.plan import Plan

__all__ = ["Plan", "compare_outputs", "measure"]
