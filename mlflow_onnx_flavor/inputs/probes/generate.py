"""Probes: inputs that provoke differences, made from the given rows and from the graph.

made = make_probes(evaluation, splits=splits, seed=0)
[(probe.kind, probe.inputs.rows) for probe in made]

The same rows, splits and seed make the same probes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeGuard

import numpy as np
import pandas as pd

from mlflow_onnx_flavor.inputs.batches import InputData, Inputs
from mlflow_onnx_flavor.inputs.probes.columns import frame_probes
from mlflow_onnx_flavor.inputs.probes.discontinuities import rows_beside_jumps
from mlflow_onnx_flavor.inputs.probes.tensors import array_probes
from mlflow_onnx_flavor.inputs.probes.tree_splits import ColumnSplit, rows_at_splits
from mlflow_onnx_flavor.schemas.origins import EXTREME_PROBES, PROBES

AT_A_SPLIT = "at a split of a tree"
BESIDE_A_JUMP = "beside a jump of the answer"

# Scores of inputs, shape (rows, scores).
Scores = Callable[[Inputs], np.ndarray]


@dataclass(frozen=True)
class Probe:
    """Rows of one kind; their origin marks rows that no service would be asked."""

    kind: str
    inputs: Inputs


def make_probes(
    inputs: Inputs,
    *,
    splits: Sequence[ColumnSplit] = (),
    vocabularies: Mapping[str, int] | None = None,
    seed: int = 0,
    rows_per_kind: int = 48,
) -> list[Probe]:
    """Return probes of every kind that fits the inputs.

    ``splits``: the splits of trees; a column is a name, or a position in an array of two axes.
    ``vocabularies``: the number of tokens by input name ("" for an array without names).
    """
    rng = np.random.default_rng(seed)
    made = _made(inputs, splits, vocabularies or {}, rng)
    return [
        Probe(kind, rows if kind == AT_A_SPLIT else _some(rows, rows_per_kind, rng))
        for kind, rows in made
        if rows.rows
    ]


def jump_probes(inputs: Inputs, scores: Scores, seed: int = 0) -> list[Probe]:
    """Return rows on both sides of each jump of ``scores`` when one column of floats changes.

    The list is empty for inputs that are neither a frame nor a matrix.
    """
    data, rng = inputs.data, np.random.default_rng(seed)
    if isinstance(data, pd.DataFrame):
        rows = rows_beside_jumps(data, lambda frame: scores(Inputs(frame)), rng)
        return [Probe(BESIDE_A_JUMP, Inputs(rows, PROBES))] if len(rows) else []
    if not _is_matrix(data) or data.dtype.kind != "f":
        return []

    def of_matrix(frame: pd.DataFrame) -> np.ndarray:
        return scores(Inputs(frame.to_numpy(data.dtype)))

    rows = rows_beside_jumps(pd.DataFrame(data), of_matrix, rng)
    return [Probe(BESIDE_A_JUMP, Inputs(rows.to_numpy(data.dtype), PROBES))] if len(rows) else []


def _made(
    inputs: Inputs,
    splits: Sequence[ColumnSplit],
    vocabularies: Mapping[str, int],
    rng: np.random.Generator,
) -> Iterator[tuple[str, Inputs]]:
    data = inputs.data
    if isinstance(data, pd.DataFrame):
        for kind, frame, extreme in _of_frame(data, splits, rng):
            yield kind, Inputs(frame, _origin(extreme))
    elif _is_matrix(data) and not vocabularies:
        # A matrix becomes a frame of columns without names.
        frame = pd.DataFrame(data)
        for kind, rows, extreme in _of_frame(frame, splits, rng):
            yield kind, Inputs(rows.to_numpy(data.dtype), _origin(extreme))
    else:
        arrays = data if isinstance(data, dict) else {"": data}
        for kind, made, extreme in array_probes(arrays, vocabularies, rng):
            rows = made if isinstance(data, dict) else made[""]
            yield kind, Inputs(rows, _origin(extreme))


def _of_frame(
    frame: pd.DataFrame, splits: Sequence[ColumnSplit], rng: np.random.Generator
) -> Iterator[tuple[str, pd.DataFrame, bool]]:
    yield AT_A_SPLIT, rows_at_splits(frame, splits, rng), False
    yield from frame_probes(frame, rng)


def _origin(extreme: bool) -> str:
    return EXTREME_PROBES if extreme else PROBES


def _is_matrix(data: InputData) -> TypeGuard[np.ndarray]:
    return isinstance(data, np.ndarray) and data.ndim == 2 and data.dtype.kind in "fiu"


def _some(inputs: Inputs, most: int, rng: np.random.Generator) -> Inputs:
    if inputs.rows <= most:
        return inputs
    return inputs.take(np.sort(rng.choice(inputs.rows, most, replace=False)))
