"""Latency: measure whether a candidate is faster, in paired rounds that hold on noisy machines.

    from mlflow_onnx_flavor import latency

    report = latency.measure(latency.Plan(folder, "sklearn", candidates, inputs, providers, ...))

`statistics` computes figures and starts nothing; `contestants` are the processes that hold one
model each; `rounds` lets them take turns; `measure` makes the report.
"""

from mlflow_onnx_flavor.latency.measure import measure
from mlflow_onnx_flavor.latency.plan import Plan

__all__ = ["Plan", "measure"]
