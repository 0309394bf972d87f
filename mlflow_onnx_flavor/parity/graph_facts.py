"""What a graph says of its inputs: where its trees split, how many tokens it embeds."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from mlflow_onnx_flavor.onnx_structure import read_structure

# A column of a graph input: the input's name and the column's position in it.
GraphColumn = tuple[str, int]

_SAME_VALUES = frozenset({"Cast", "Identity", "Reshape", "Flatten", "Squeeze", "Unsqueeze"})
_FEATURES_AND_SPLITS = {
    "TreeEnsembleClassifier": ("nodes_featureids", "nodes_values", "nodes_modes"),
    "TreeEnsembleRegressor": ("nodes_featureids", "nodes_values", "nodes_modes"),
    "TreeEnsemble": ("nodes_featureids", "nodes_splits", ""),
}


@dataclass(frozen=True)
class GraphFacts:
    """``splits``: sorted thresholds of trees that see a column as it is given.  ``vocabularies``:
    how many rows the embedding has that an input of integers picks from.
    """

    splits: Mapping[GraphColumn, np.ndarray] = field(default_factory=dict)
    vocabularies: Mapping[str, int] = field(default_factory=dict)


def graph_facts(path: Path) -> GraphFacts:
    """Raises CorruptModelError where the file is no ONNX."""
    graph = read_structure(path).graph
    makers = {name: node for node in graph.node for name in node.output}
    widths = {each.name: _width(each) for each in graph.input}
    splits: dict[GraphColumn, set[float]] = {}
    for node in graph.node:
        if node.op_type in _FEATURES_AND_SPLITS:
            columns = list(_columns(node.input[0], makers, widths))
            for feature, value in _splits(node):
                if feature < len(columns) and columns[feature] is not None:
                    splits.setdefault(columns[feature], set()).add(value)
    return GraphFacts(
        splits={column: np.array(sorted(values)) for column, values in splits.items()},
        vocabularies=dict(_vocabularies(graph, makers)),
    )


def _columns(
    name: str, makers: Mapping[str, Any], widths: Mapping[str, int]
) -> Iterator[GraphColumn | None]:
    """The column of a graph input that each column of the value ``name`` is; None: made of more."""
    if name in widths:
        yield from ((name, position) for position in range(widths[name]))
        return
    node = makers.get(name)
    if node is None or node.op_type not in _SAME_VALUES | {"Concat"}:
        # What comes after it in a Concat would be counted wrongly.
        yield from (None for _ in range(10_000))
        return
    for given in node.input if node.op_type == "Concat" else node.input[:1]:
        yield from _columns(given, makers, widths)


def _splits(node: Any) -> Iterator[tuple[int, float]]:
    features, values, modes = _FEATURES_AND_SPLITS[node.op_type]
    attributes = {each.name: each for each in node.attribute}
    tensor = attributes.get(f"{values}_as_tensor") or attributes.get(values)
    if tensor is None or features not in attributes:
        return
    import onnx

    numbers = onnx.numpy_helper.to_array(tensor.t) if tensor.HasField("t") else tensor.floats
    kinds = list(attributes[modes].strings) if modes in attributes else [b""] * len(numbers)
    for feature, value, kind in zip(attributes[features].ints, numbers, kinds, strict=False):
        if kind != b"LEAF" and np.isfinite(value):
            yield int(feature), float(value)


def _vocabularies(graph: Any, makers: Mapping[str, Any]) -> Iterator[tuple[str, int]]:
    inputs = {each.name for each in graph.input}
    sizes = {each.name: each.dims[0] for each in graph.initializer if each.dims}
    for node in graph.node:
        if node.op_type == "Gather" and node.input[0] in sizes:
            source = _origin(node.input[1], makers)
            if source in inputs:
                yield source, int(sizes[node.input[0]])


def _origin(name: str, makers: Mapping[str, Any]) -> str:
    while name in makers and makers[name].op_type in _SAME_VALUES:
        name = makers[name].input[0]
    return name


def _width(value: Any) -> int:
    """Columns of a graph input of shape (rows, columns); those of a vector or unknown one are 1."""
    dims = value.type.tensor_type.shape.dim
    return prod(max(each.dim_value, 1) for each in list(dims)[1:])
