"""Operators of a graph, counted, including those of subgraphs and functions."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from mlflow_onnx_flavor.onnx_graph.structure import read_structure


def count_operators(model: Path) -> Counter[tuple[str, str]]:
    """Return how often each (domain, operator) occurs in the file; "" is ONNX's own domain."""
    loaded = read_structure(model)
    found: Counter[tuple[str, str]] = Counter()
    _count(loaded.graph.node, found)
    for function in loaded.functions:
        _count(function.node, found)
    return found


def _count(nodes: Iterable[Any], found: Counter[tuple[str, str]]) -> None:
    for node in nodes:
        found[("" if node.domain == "ai.onnx" else node.domain, node.op_type)] += 1
        for attribute in node.attribute:
            for graph in (attribute.g, *attribute.graphs):
                _count(graph.node, found)
