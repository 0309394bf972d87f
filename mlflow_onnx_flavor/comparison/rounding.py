"""The source model's own rounding error, measured on the source alone.

If the source can run in float64, that result is the truth that its answers are compared with.
Besides, its inputs are moved by one rounding of float32, up or down at random, and it answers
again, as in stochastic arithmetic (Vignes, A Stochastic Arithmetic for Reliable Scientific
Computation, Mathematics and Computers in Simulation 35, 1993): the effect of a rounding in the
inputs shows the effect of those within the model.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from mlflow_onnx_flavor.comparison.outputs import scaled_errors
from mlflow_onnx_flavor.comparison.tolerance import Rounding
from mlflow_onnx_flavor.inputs import Inputs

log = logging.getLogger(__name__)

Outputs = Mapping[str, np.ndarray]
Ask = Callable[[Inputs], Outputs]

_MOST_ROWS = 32
_DRAWS = 3

# Inputs are moved both ways, and the smaller change counts: a row on a tree's threshold jumps one
# way only.  A row that still moves by more than this has jumped too; if all answers jump, float32
# cannot represent the model.
JUMP = 1e-3


def own_rounding(ask: Ask, ask_in_float64: Ask | None, inputs: Inputs) -> dict[str, Rounding]:
    """Return the rounding error of every float output, measured on some rows of ``inputs``.

    ``ask``: calls the source; ``ask_in_float64``: calls it in float64, if it can run so.  Outputs
    that are float64 already are measured by perturbation only.  An output without a measurement is
    left out.
    """
    rows = inputs.take(_spread(inputs.rows))
    try:
        answers = ask(rows)
    except Exception:  # the comparison itself reports the cause
        log.info("the source does not answer", exc_info=True)
        return {}
    exact, moved = _in_float64(ask_in_float64, rows), _answers_moved(ask, rows)
    estimates = {
        name: _rounding(name, answer, moved, exact)
        for name, answer in answers.items()
        if np.asarray(answer).dtype.kind == "f"
    }
    return {name: each for name, each in estimates.items() if each is not None}


def merged(estimates: Sequence[Mapping[str, Rounding]]) -> dict[str, Rounding]:
    """Return the largest of several estimates for each output."""
    found: dict[str, Rounding] = {}
    for name, each in (item for estimate in estimates for item in estimate.items()):
        if name not in found or each.error > found[name].error:
            found[name] = each
    return found


def _rounding(
    name: str, answer: np.ndarray, moved: Sequence[tuple[Outputs, Outputs]], exact: Outputs
) -> Rounding | None:
    by_inputs = [_largest_but_jumps(answer, up[name], down[name]) for up, down in moved]
    if name in exact and np.asarray(answer).dtype != np.float64:
        against_exact = float(scaled_errors(exact[name], answer).max(initial=0.0))
        return Rounding(max(against_exact, *filter(np.isfinite, by_inputs), 0.0), "float64")
    return Rounding(max(by_inputs), "perturbation") if by_inputs else None


def _answers_moved(ask: Ask, rows: Inputs) -> list[tuple[Outputs, Outputs]]:
    """Return the source's answers to inputs that are moved one way and the other.

    Integers of a frame are moved too if the source accepts them; the list is empty if there is
    nothing to move.
    """
    for kinds in ("fiu", "f"):
        if not _can_move(rows, kinds):
            continue
        try:
            return [
                (ask(moved(rows, kinds, seed)), ask(moved(rows, kinds, seed, turned=True)))
                for seed in range(_DRAWS)
            ]
        except Exception:  # such as a category that a move turns into an unknown one
            log.info("the source does not take inputs that were moved", exc_info=True)
    return []


def _largest_but_jumps(answer: np.ndarray, up: np.ndarray, down: np.ndarray) -> float:
    """Return the largest scaled error that is no jump; infinity if all are jumps."""
    if not np.shape(answer) == np.shape(up) == np.shape(down):
        return float("inf")
    errors = np.minimum(scaled_errors(answer, up), scaled_errors(answer, down))
    finite = [np.isfinite(np.reshape(each, errors.shape)) for each in (answer, up, down)]
    smooth = errors[np.logical_and.reduce(finite) & (errors <= JUMP)]
    return float(smooth.max()) if smooth.size else float("inf")


def _in_float64(ask: Ask | None, rows: Inputs) -> Outputs:
    if ask is None:
        return {}
    try:
        return ask(rows)
    except Exception:  # whatever a framework raises where a layer is bound to its dtype
        log.info("the source does not run in float64", exc_info=True)
        return {}


def _spread(rows: int) -> np.ndarray:
    return np.unique(np.linspace(0, rows - 1, min(rows, _MOST_ROWS), dtype=int))


def _can_move(inputs: Inputs, kinds: str) -> bool:
    if isinstance(inputs.data, pd.DataFrame):
        return any(_kind(dtype) in kinds for dtype in inputs.data.dtypes)
    arrays = inputs.data.values() if isinstance(inputs.data, dict) else [inputs.data]
    return any(each.dtype.kind == "f" for each in arrays)


def moved(inputs: Inputs, kinds: str, seed: int, turned: bool = False) -> Inputs:
    """Return the rows with every float moved by one rounding of float32, up or down by ``seed``.

    ``turned``: moves each the other way.  ``kinds``: the kinds of frame columns that are moved;
    arrays of integers stay.
    """
    data, way = inputs.data, _Way(np.random.default_rng(seed), -1 if turned else 1)
    if isinstance(data, pd.DataFrame):
        changed = data.copy()
        for position, dtype in enumerate(data.dtypes):
            if _kind(dtype) in kinds:
                values = data.iloc[:, position].to_numpy(_float_of(dtype), na_value=np.nan)
                changed.isetitem(position, way.move(values))
        return Inputs(changed, inputs.origin)
    if isinstance(data, dict):
        return Inputs({key: way.move(each) for key, each in data.items()}, inputs.origin)
    return Inputs(way.move(data), inputs.origin)


def _kind(dtype: Any) -> str:
    """Return numpy's letter for the kind of a dtype, including pandas' nullable dtypes."""
    return getattr(dtype, "kind", "O")


def _float_of(dtype: Any) -> np.dtype:
    narrow = _kind(dtype) == "f" and getattr(dtype, "itemsize", 8) <= 4
    return np.dtype(np.float32 if narrow else np.float64)


@dataclass(frozen=True)
class _Way:
    """The direction in which each number is moved; ``sign`` -1 reverses all of them."""

    rng: np.random.Generator
    sign: int

    def move(self, array: np.ndarray) -> np.ndarray:
        if array.dtype.kind != "f":
            return array
        eps = self.sign * max(np.finfo(np.float32).eps, np.finfo(array.dtype).eps)
        moved: np.ndarray = array * (
            1 + self.rng.choice([-eps, eps], array.shape).astype(array.dtype)
        )
        return moved
