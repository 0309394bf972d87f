"""Probes that the source accepts.

A row that the source refuses is no probe.  A row is an extreme probe where the source gives a
number that is not finite, or another answer when the inputs move by one rounding error: no
candidate can be required to match that.
"""

from __future__ import annotations

import logging
import zlib
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from mlflow_onnx_flavor.artifact.open_axes import open_axes
from mlflow_onnx_flavor.artifact.saved_model import feeds_of, graph_file
from mlflow_onnx_flavor.comparison.outputs import error_by_row
from mlflow_onnx_flavor.comparison.rounding import JUMP, moved
from mlflow_onnx_flavor.inputs import Inputs
from mlflow_onnx_flavor.inputs.probes.axis_sizes import size_probes
from mlflow_onnx_flavor.inputs.probes.generate import AT_A_SPLIT, Probe, jump_probes, make_probes
from mlflow_onnx_flavor.inputs.probes.tensors import PADDING_ALONE
from mlflow_onnx_flavor.inputs.probes.tree_splits import ColumnSplit
from mlflow_onnx_flavor.onnx_graph.facts import GraphColumn, GraphFacts, graph_facts
from mlflow_onnx_flavor.schemas.origins import BATCH_PROBES, EXTREME_PROBES, PROBES

log = logging.getLogger(__name__)

# A source may refuse rows of these kinds alone and accept them within a batch.
_MAY_NEED_OTHERS = frozenset({PADDING_ALONE})

Ask = Callable[[Inputs], Mapping[str, np.ndarray]]


@dataclass(frozen=True)
class Taken:
    """Probes of one origin that the source accepts, and the kind of each row."""

    inputs: Inputs
    kinds: tuple[str, ...]


def probes_of(inputs: Inputs, candidate: Path, ask: Ask, seed: int) -> list[Taken]:
    """Return probes for ``inputs`` and the graph of ``candidate``, those that ``ask`` accepts.

    ``candidate``: a model folder or an ``.onnx`` file.
    """
    facts, feeds = graph_facts(graph_file(candidate)), feeds_of(candidate)
    made = make_probes(
        inputs,
        splits=_splits(facts, feeds, inputs),
        vocabularies=_vocabularies(facts, feeds),
        seed=seed,
    )
    made += _beside_jumps(inputs, ask, seed)
    parts: dict[str, list[tuple[str, Inputs]]] = {PROBES: [], BATCH_PROBES: [], EXTREME_PROBES: []}
    for probe in made:
        for origin, rows in _taken(probe, ask):
            parts[origin].append((probe.kind, rows))
    joined = [
        Taken(
            Inputs.joined([rows for _, rows in some], origin),
            tuple(kind for kind, rows in some for _ in range(rows.rows)),
        )
        for origin, some in parts.items()
        if some
    ]
    return joined + [
        Taken(rows, (rows.origin,) * rows.rows)
        for rows in size_probes(inputs.data, open_axes(candidate))
        if _all_answered(rows, ask)
    ]


def _beside_jumps(inputs: Inputs, ask: Ask, seed: int) -> list[Probe]:
    """Return probes beside jumps of the source's outputs, found on the source alone.

    The search uses the outputs of floats, or the labels where there are no others.
    """

    def scores(some: Inputs) -> np.ndarray:
        outputs = [np.asarray(each).reshape(some.rows, -1) for each in ask(some).values()]
        floats = [each for each in outputs if each.dtype.kind == "f"]
        numbers = floats or [_numbered(each) for each in outputs]
        return np.nan_to_num(np.concatenate(numbers, axis=1).astype(np.float64))

    try:
        return jump_probes(inputs, scores, seed)
    except Exception:  # a source that refuses values between those of the inputs
        log.info("no search for jumps", exc_info=True)
        return []


def _numbered(labels: np.ndarray) -> np.ndarray:
    """Return labels as numbers: equal for equal labels, and the same in every call."""
    return np.vectorize(lambda label: zlib.crc32(str(label).encode()) % 1_000_003)(labels)


def _taken(probe: Probe, ask: Ask) -> list[tuple[str, Inputs]]:
    """Return the rows of ``probe`` that the source accepts, each with the origin that it gets.

    The origin depends on the source's answers.
    """
    answered = _answered(probe.inputs, ask)
    if not answered:
        return []
    rows = Inputs.joined([part for part, _ in answered], probe.inputs.origin)
    if probe.inputs.origin == EXTREME_PROBES:
        return [(EXTREME_PROBES, rows)]
    sure = np.concatenate([_finite(answer, part.rows) for part, answer in answered])
    if probe.kind != AT_A_SPLIT:
        sure &= np.concatenate([_steady(answer, part, ask) for part, answer in answered])
    alone = np.ones(rows.rows, bool)
    if probe.kind in _MAY_NEED_OTHERS:
        alone = np.array([bool(_answered(row, ask)) for row in rows.batches(1)])
    if not (alone | ~sure).all():  # the other rows make the batch in which the row is accepted
        return [(BATCH_PROBES if sure.all() else EXTREME_PROBES, rows)]
    split = [(PROBES, rows.take(sure & alone)), (EXTREME_PROBES, rows.take(~sure & alone))]
    return [(origin, some) for origin, some in split if some.rows]


def _answered(inputs: Inputs, ask: Ask) -> list[tuple[Inputs, Mapping[str, np.ndarray]]]:
    """Return all rows with their answers, or those that the source accepts one at a time."""
    try:
        return [(inputs, ask(inputs))]
    except Exception:  # whatever a source raises on rows that it refuses
        if inputs.rows == 1:
            log.info("a probe is refused", exc_info=True)
            return []
    return [each for row in inputs.batches(1) for each in _answered(row, ask)]


def _all_answered(inputs: Inputs, ask: Ask) -> bool:
    return sum(part.rows for part, _ in _answered(inputs, ask)) == inputs.rows


def _finite(outputs: Mapping[str, np.ndarray], rows: int) -> np.ndarray:
    """Return which rows have no NaN and no infinity among the scores, as booleans (rows,)."""
    found = np.ones(rows, bool)
    for array in map(np.asarray, outputs.values()):
        if array.dtype.kind == "f" and array.ndim and len(array) == rows:
            found &= np.isfinite(array.reshape(rows, -1)).all(axis=1)
    return found


def _steady(outputs: Mapping[str, np.ndarray], inputs: Inputs, ask: Ask) -> np.ndarray:
    """Return which rows keep their answer when their floats move by one rounding of float32."""
    try:
        again = ask(moved(inputs, "f", seed=0))
    except Exception:  # the moved value is invalid, the value itself is accepted
        log.info("a probe is refused when it is moved", exc_info=True)
        return np.ones(inputs.rows, bool)
    found = np.ones(inputs.rows, bool)
    for name, array in outputs.items():
        if np.ndim(array) and len(array) == inputs.rows:
            found &= error_by_row(array, again[name]) <= JUMP
    return found


def _splits(
    facts: GraphFacts, feeds: Sequence[Mapping[str, Any]], inputs: Inputs
) -> list[ColumnSplit]:
    """Return the splits of trees by column of the inputs, in the precision of the graph's input."""
    by_name = {feed["name"]: feed for feed in feeds}
    singles = [feed["name"] for feed in feeds if feed["layout"] == "column"]

    def place(column: GraphColumn) -> tuple[Hashable | None, np.dtype]:
        name, position = column
        feed = by_name.get(name, {"layout": "tensor", "dtype": "float32"})
        dtype = np.dtype(feed["dtype"])
        at = singles.index(name) if feed["layout"] == "column" else position
        if isinstance(inputs.data, pd.DataFrame):
            found = _column(inputs.data, feed.get("columns", ()), position, at)
        else:
            found = at
        return found, dtype if dtype.kind == "f" else np.dtype(np.float64)

    places = {
        column: place(column) for split in facts.splits for column in (split.column, *split.way)
    }
    return [
        ColumnSplit(
            column=places[split.column][0],
            threshold=split.threshold,
            way={places[column][0]: each for column, each in split.way.items()},
            dtype=places[split.column][1],
        )
        for split in facts.splits
        if places[split.column][0] is not None
    ]


def _column(frame: pd.DataFrame, columns: Sequence[str], position: int, at: int) -> Hashable | None:
    """Return the frame's own name of a column, which may be a number; None where there is none."""
    by_text = {str(name): name for name in frame.columns}
    if position < len(columns):
        return by_text.get(columns[position])
    return frame.columns[at] if at < frame.shape[1] else None


def _vocabularies(facts: GraphFacts, feeds: Sequence[Mapping[str, Any]]) -> dict[str, int]:
    keys = {feed["name"]: feed.get("key", "") for feed in feeds if feed["layout"] == "tensor"}
    return {keys.get(name, name): size for name, size in facts.vocabularies.items()}
