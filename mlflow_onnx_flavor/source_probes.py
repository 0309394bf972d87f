"""Probes that the source takes: what it refuses is none, what it gives no number for is extreme."""

from __future__ import annotations

import logging
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from mlflow_onnx_flavor.candidates.folder import feeds_of, graph_file
from mlflow_onnx_flavor.inputs import EXTREME_PROBES, PROBES, Inputs
from mlflow_onnx_flavor.inputs.probes import Probe, make_probes
from mlflow_onnx_flavor.parity.graph_facts import GraphFacts, graph_facts

log = logging.getLogger(__name__)

Ask = Callable[[Inputs], Mapping[str, np.ndarray]]


@dataclass(frozen=True)
class Taken:
    """Probes of one origin, and the kind of each row."""

    inputs: Inputs
    kinds: tuple[str, ...]


def probes_of(inputs: Inputs, candidate: Path, ask: Ask, seed: int) -> list[Taken]:
    """Probes for ``inputs`` and the graph of ``candidate``, of those that ``ask`` answers.

    ``candidate``: a model folder or an ``.onnx`` file.
    """
    facts, feeds = graph_facts(graph_file(candidate)), feeds_of(candidate)
    made = make_probes(
        inputs,
        splits=_splits(facts, feeds, inputs),
        vocabularies=_vocabularies(facts, feeds),
        seed=seed,
    )
    parts: dict[str, list[tuple[str, Inputs]]] = {PROBES: [], EXTREME_PROBES: []}
    for probe in made:
        for origin, rows in _taken(probe, ask):
            parts[origin].append((probe.kind, rows))
    return [
        Taken(
            Inputs.joined([rows for _, rows in some], origin),
            tuple(kind for kind, rows in some for _ in range(rows.rows)),
        )
        for origin, some in parts.items()
        if some
    ]


def _taken(probe: Probe, ask: Ask) -> list[tuple[str, Inputs]]:
    """The rows of ``probe`` that the source answers, by the origin that its answers give them."""
    answered = _answered(probe.inputs, ask)
    if not answered:
        return []
    rows = Inputs.joined([part for part, _ in answered], probe.inputs.origin)
    finite = np.concatenate([_finite(answer, part.rows) for part, answer in answered])
    if probe.inputs.origin == EXTREME_PROBES:
        return [(EXTREME_PROBES, rows)]
    split = [(PROBES, rows.take(finite)), (EXTREME_PROBES, rows.take(~finite))]
    return [(origin, some) for origin, some in split if some.rows]


def _answered(inputs: Inputs, ask: Ask) -> list[tuple[Inputs, Mapping[str, np.ndarray]]]:
    """All rows at once where the source takes them all, else those that it takes one at a time."""
    try:
        return [(inputs, ask(inputs))]
    except Exception:  # whatever a source raises on what it does not take
        if inputs.rows == 1:
            log.info("a probe is refused", exc_info=True)
            return []
    return [each for row in inputs.batches(1) for each in _answered(row, ask)]


def _finite(outputs: Mapping[str, np.ndarray], rows: int) -> np.ndarray:
    """Which rows have no NaN and no infinity among the scores."""
    found = np.ones(rows, bool)
    for array in map(np.asarray, outputs.values()):
        if array.dtype.kind == "f" and array.ndim and len(array) == rows:
            found &= np.isfinite(array.reshape(rows, -1)).all(axis=1)
    return found


def _splits(
    facts: GraphFacts, feeds: Sequence[Mapping[str, Any]], inputs: Inputs
) -> dict[Hashable, np.ndarray]:
    """The splits of trees by column of the inputs, in the precision of the graph's input."""
    by_name = {feed["name"]: feed for feed in feeds}
    singles = [feed["name"] for feed in feeds if feed["layout"] == "column"]
    found: dict[Hashable, np.ndarray] = {}
    for (name, position), values in facts.splits.items():
        feed = by_name.get(name, {"layout": "tensor", "dtype": "float32"})
        dtype = np.dtype(feed["dtype"])
        at = singles.index(name) if feed["layout"] == "column" else position
        if isinstance(inputs.data, pd.DataFrame):
            column = _column(inputs.data, feed.get("columns", ()), position, at)
        else:
            column = at
        if column is not None:
            found[column] = values.astype(dtype if dtype.kind == "f" else np.float64)
    return found


def _column(frame: pd.DataFrame, columns: Sequence[str], position: int, at: int) -> Hashable | None:
    """The frame's own name of a column, which may be a number."""
    by_text = {str(name): name for name in frame.columns}
    if position < len(columns):
        return by_text.get(columns[position])
    return frame.columns[at] if at < frame.shape[1] else None


def _vocabularies(facts: GraphFacts, feeds: Sequence[Mapping[str, Any]]) -> dict[str, int]:
    keys = {feed["name"]: feed.get("key", "") for feed in feeds if feed["layout"] == "tensor"}
    return {keys.get(name, name): size for name, size in facts.vocabularies.items()}
