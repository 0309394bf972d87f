"""Latency: is the candidate faster?  Measured alternately, so that ratios hold on noisy machines.

    from mlflow_onnx_flavor import latency

    report = latency.measure(latency.Plan(folder, "sklearn", candidates, inputs, providers, ...))

`statistics` is pure; `participants` are processes that answer; `rounds` lets them take turns;
`measure` makes the report.
"""

from mlflow_onnx_flavor.latency.measure import measure
from mlflow_onnx_flavor.latency.plan import Plan

__all__ = ["Plan", "measure"]
