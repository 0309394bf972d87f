"""Facts about a graph's inputs: where its trees split, how many tokens it embeds."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from math import prod
from pathlib import Path
from typing import Any

from mlflow_onnx_flavor.onnx_graph.structure import read_structure
from mlflow_onnx_flavor.onnx_graph.tree_splits import Interval, splits_of

# A column of a graph input: the input's name and the column's position in it.
GraphColumn = tuple[str, int]

_SAME_VALUES = frozenset({"Cast", "Identity", "Reshape", "Flatten", "Squeeze", "Unsqueeze"})
_TREES = frozenset({"TreeEnsemble", "TreeEnsembleClassifier", "TreeEnsembleRegressor"})


@dataclass(frozen=True)
class GraphSplit:
    """A `tree_splits.Split` in terms of the columns of the graph's inputs."""

    column: GraphColumn
    threshold: float
    way: Mapping[GraphColumn, Interval]


@dataclass(frozen=True)
class GraphFacts:
    """The splits and vocabularies of a graph.

    ``splits``: those of trees that read a column unchanged.  ``vocabularies``: by input of
    integers, the number of rows of the embedding that it selects from.
    """

    splits: tuple[GraphSplit, ...] = ()
    vocabularies: Mapping[str, int] = field(default_factory=dict)


def graph_facts(path: Path) -> GraphFacts:
    """Return the facts about the graph in ``path``.

    Raises CorruptModelError if the file is not ONNX.
    """
    graph = read_structure(path).graph
    makers = {name: node for node in graph.node for name in node.output}
    widths = {each.name: _width(each) for each in graph.input}
    splits = [
        split
        for node in graph.node
        if node.op_type in _TREES
        for split in _splits(node, list(_columns(node.input[0], makers, widths)))
    ]
    return GraphFacts(
        splits=tuple(splits),
        vocabularies=dict(_vocabularies(graph, makers)),
    )


def _splits(node: Any, columns: Sequence[GraphColumn | None]) -> Iterator[GraphSplit]:
    for split in splits_of(node):
        known = {at: columns[at] for at in (split.feature, *split.way) if at < len(columns)}
        column = known.get(split.feature)
        if column is not None:
            seen = ((known.get(at), each) for at, each in split.way.items())
            way = {at: each for at, each in seen if at is not None}
            yield GraphSplit(column, split.threshold, way)


def _columns(
    name: str, makers: Mapping[str, Any], widths: Mapping[str, int]
) -> Iterator[GraphColumn | None]:
    """Yield, for each column of the value ``name``, the column of a graph input that it equals.

    None stands for a column that is computed from more.
    """
    if name in widths:
        yield from ((name, position) for position in range(widths[name]))
        return
    node = makers.get(name)
    if node is None or node.op_type not in _SAME_VALUES | {"Concat"}:
        # The columns after it in a Concat would be counted wrongly.
        yield from (None for _ in range(10_000))
        return
    for given in node.input if node.op_type == "Concat" else node.input[:1]:
        yield from _columns(given, makers, widths)


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
    """Return the columns of a graph input of shape (rows, columns).

    A vector and an input of unknown shape count as 1.
    """
    dims = value.type.tensor_type.shape.dim
    return prod(max(each.dim_value, 1) for each in list(dims)[1:])
