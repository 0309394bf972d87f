"""The axes that a graph leaves open beside that of the batch, by the names that its inputs have."""

from __future__ import annotations

from pathlib import Path

from mlflow_onnx_flavor.candidates.folder import feeds_of, graph_file
from mlflow_onnx_flavor.inputs.size_probes import Axis
from mlflow_onnx_flavor.onnx_structure import read_structure


def open_axes(candidate: Path) -> list[list[Axis]]:
    """Of a model folder or an ``.onnx`` file; axes of the same name have one size and are together.

    The first axis is the batch.  Raises CorruptModelError where the file is no ONNX.
    """
    feeds = (feed for feed in feeds_of(candidate) if feed["layout"] == "tensor")
    keys = {feed["name"]: feed.get("key", "") for feed in feeds}
    named: dict[str, list[Axis]] = {}
    for value in read_structure(graph_file(candidate)).graph.input:
        for axis, each in enumerate(value.type.tensor_type.shape.dim):
            if axis and not each.HasField("dim_value"):
                # Without a name, nothing says that it goes with another.
                name = each.dim_param or f"{value.name}\0{axis}"
                named.setdefault(name, []).append((keys.get(value.name, value.name), axis))
    return list(named.values())
