"""Probes: inputs that look for trouble, made from the rows that are given and from the graph.

made = make_probes(evaluation, splits={"age": [17.5, 30.5]}, seed=0)
[(probe.kind, probe.inputs.rows) for probe in made]

The same rows, splits and seed make the same probes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from mlflow_onnx_flavor.inputs.array_probes import array_probes
from mlflow_onnx_flavor.inputs.batches import EXTREME_PROBES, PROBES, InputData, Inputs
from mlflow_onnx_flavor.inputs.frame_probes import Splits, frame_probes


@dataclass(frozen=True)
class Probe:
    """Rows of one kind; their origin says whether they are such as no service should be asked."""

    kind: str
    inputs: Inputs


def make_probes(
    inputs: Inputs,
    *,
    splits: Splits | None = None,
    vocabularies: Mapping[str, int] | None = None,
    seed: int = 0,
    rows_per_kind: int = 48,
) -> list[Probe]:
    """``splits``: thresholds by column (a name, or a position in an array of two axes).

    ``vocabularies``: the number of tokens by input name ("" for an array without names).
    """
    rng = np.random.default_rng(seed)
    made = _made(inputs, splits or {}, vocabularies or {}, rng)
    return [Probe(kind, _some(rows, rows_per_kind, rng)) for kind, rows in made if rows.rows]


def _made(
    inputs: Inputs, splits: Splits, vocabularies: Mapping[str, int], rng: np.random.Generator
) -> Iterator[tuple[str, Inputs]]:
    data = inputs.data
    if isinstance(data, pd.DataFrame):
        for kind, frame, extreme in frame_probes(data, splits, rng):
            yield kind, Inputs(frame, _origin(extreme))
    elif _is_matrix(data) and not vocabularies:
        # A matrix is a frame of columns without names.
        frame = pd.DataFrame(data)
        for kind, rows, extreme in frame_probes(frame, splits, rng):
            yield kind, Inputs(rows.to_numpy(data.dtype), _origin(extreme))
    else:
        arrays = data if isinstance(data, dict) else {"": data}
        for kind, made, extreme in array_probes(arrays, vocabularies, rng):
            rows = made if isinstance(data, dict) else made[""]
            yield kind, Inputs(rows, _origin(extreme))


def _origin(extreme: bool) -> str:
    return EXTREME_PROBES if extreme else PROBES


def _is_matrix(data: InputData) -> bool:
    return isinstance(data, np.ndarray) and data.ndim == 2 and data.dtype.kind in "fiu"


def _some(inputs: Inputs, most: int, rng: np.random.Generator) -> Inputs:
    if inputs.rows <= most:
        return inputs
    return inputs.take(np.sort(rng.choice(inputs.rows, most, replace=False)))
