"""Open axes of a graph's inputs and outputs, beside the axis of the batch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mlflow_onnx_flavor.artifact.saved_model import feeds_of, graph_file
from mlflow_onnx_flavor.onnx_graph.axes import Axis
from mlflow_onnx_flavor.onnx_graph.structure import read_structure


def open_axes(candidate: Path) -> list[list[Axis]]:
    """Return the open axes of a model's inputs; axes of one name have one size and form one group.

    ``candidate``: a model folder or an ``.onnx`` file.  The first axis is the batch and left out.
    Raises CorruptModelError where the file is not ONNX.
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


def open_output_axes(file: Path) -> dict[str, tuple[bool, ...]]:
    """Return for each output of an ``.onnx`` file which of its axes follow the sizes of the inputs.

    The result is empty where no input leaves an axis open beside the first: exporters sometimes
    lose track of a shape, and an output axis that they leave open then does not vary.
    """
    graph = read_structure(file).graph
    if not any(any(_are_open(value)[1:]) for value in graph.input):
        return {}
    return {value.name: _are_open(value) for value in graph.output}


def _are_open(value: Any) -> tuple[bool, ...]:
    return tuple(not each.HasField("dim_value") for each in value.type.tensor_type.shape.dim)
