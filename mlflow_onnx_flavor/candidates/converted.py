"""The converted model itself, beside which every other candidate is measured."""

from __future__ import annotations

from pathlib import Path

from mlflow_onnx_flavor.candidates.base import Built, Measuring

name = "converted"


def build(converted: Path, out: Path, measuring: Measuring | None = None) -> Built:
    """Copy the file and its external data; raise CorruptModelError where it is not ONNX."""
    from mlflow_onnx_flavor.onnx_graph.files import copy_model

    copy_model(converted, out)
    return Built("as converted")
