"""External data: weights that an ONNX model keeps outside its file, as any above 2 GiB must."""

from __future__ import annotations

from pathlib import Path

from mlflow_onnx_flavor.onnx_graph.files import external_locations
from mlflow_onnx_flavor.onnx_graph.structure import read_structure

# A protobuf file ends at 2 GiB; half of that leaves room for weights that an optimization adds.
MAX_INLINE_BYTES = 2**30


def data_files(model: Path) -> list[Path]:
    """Return the files beside ``model`` that hold its weights; the weights are not read."""
    return [model.parent / location for location in external_locations(read_structure(model))]


def total_bytes(model: Path) -> int:
    """Return the bytes of the model's file and its data files together."""
    return sum(each.stat().st_size for each in (model, *data_files(model)))
