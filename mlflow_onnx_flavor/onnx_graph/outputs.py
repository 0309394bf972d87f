"""Outputs of onnxruntime as arrays that can be compared row by row.

Most are arrays.  ZipMap's maps from class to probability become the matrix that they were made
from.  Each tensor of a sequence whose length the graph fixes becomes an output: ``states[0]``,
``states[1]``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mlflow_onnx_flavor.errors import UnsupportedModelError
from mlflow_onnx_flavor.onnx_graph.structure import read_structure


def as_arrays(outputs: Mapping[str, Any], file: Path) -> dict[str, np.ndarray]:
    """Return the ``outputs`` of a session on ``file`` as arrays by name.

    Raises UnsupportedModelError, naming it, for an output that has no row for each input row: a
    sequence whose length depends on the data, or one of anything but tensors.
    """
    return dict(each for name, value in outputs.items() for each in _arrays(name, value, file))


def _arrays(name: str, value: Any, file: Path) -> Iterator[tuple[str, np.ndarray]]:
    if isinstance(value, np.ndarray) or np.isscalar(value):
        yield name, np.atleast_1d(value)
    elif _is_sequence_of(Mapping, value):
        yield name, _matrix(value)
    elif _is_sequence_of(np.ndarray, value) and _is_of_fixed_length(name, file):
        for position, each in enumerate(value):
            yield f"{name}[{position}]", np.atleast_1d(each)
    else:
        size = f" of {len(value)} values" if isinstance(value, Sequence) else ""
        raise UnsupportedModelError(
            f"output {name!r} is a {type(value).__name__}{size}, which has no row for each input"
            " row; leave it out of the graph's outputs, or give the tensors that it is made of"
        )


def _is_sequence_of(kind: type, value: Any) -> bool:
    return isinstance(value, Sequence) and bool(value) and isinstance(value[0], kind)


def _is_of_fixed_length(name: str, file: Path) -> bool:
    """Return whether a node assembles the sequence from its inputs."""
    makers = {each: node for node in read_structure(file).graph.node for each in node.output}
    while name in makers and makers[name].op_type == "Identity":
        name = makers[name].input[0]
    return name in makers and makers[name].op_type == "SequenceConstruct"


def _matrix(maps: Sequence[Mapping[Any, float]]) -> np.ndarray:
    """Return ZipMap's maps as the matrix of probabilities: a column for each class, in order."""
    classes = sorted(maps[0])
    return np.array([[row[each] for each in classes] for row in maps], np.float32)
