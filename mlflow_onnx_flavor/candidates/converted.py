"""The model as it was converted: what every other candidate is measured beside."""

from __future__ import annotations

from pathlib import Path

from mlflow_onnx_flavor.candidates.base import Built, Measuring

name = "converted"


def build(converted: Path, out: Path, measuring: Measuring | None = None) -> Built:
    """Copy the file and its external data; CorruptModelError where it is no ONNX."""
    from mlflow_onnx_flavor.onnx_graph.files import copy_model

    copy_model(converted, out)
    return Built("as converted")
