"""The check for numbers that a graph computes from rows that its float32 inputs rounded.

Trees of scikit-learn, XGBoost and CatBoost round their input to float32, so rows that were rounded
on their way into the graph stay on the same side of a threshold.  Numbers that a scaler computes
from them may not: an age of 51 lies exactly between the training rows of 50 and 52, where their
threshold is, and one rounding more or less moves it to the other side.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from mlflow_onnx_flavor.errors import NotExportableError

# Operators of skl2onnx that only move numbers or change their type.
_MOVING = ("SklearnConcat", "SklearnIdentity", "SklearnCast", "SklearnCastTransformer")
# Our own such operators, each with the class of model for which it only moves numbers.
_moving: set[tuple[str, type]] = set()


def take_moving(alias: str, kind: type) -> None:
    """Record that the operator ``alias`` of a ``kind`` returns only numbers from its input."""
    _moving.add((alias, kind))


def mark_rounded(initial_types: Sequence[tuple[str, Any]], rows: Any) -> None:
    """Mark on skl2onnx's types of graph inputs which of them round the numbers of ``rows``.

    The source computes in float64 on everything but float32, including integers.
    """
    if isinstance(rows, pd.DataFrame):
        wider: set[str] | None = {str(name) for name in rows if not _is_float32(rows[name].dtype)}
    else:
        wider = set() if _is_float32(rows.dtype) else None
    for _, kind in initial_types:
        names = getattr(kind, "column_names", ())
        narrow = type(kind).__name__ == "FloatTensorType"
        kind.rounds = narrow and (wider is None or not wider.isdisjoint(names))


def refuse_computed(operator: Any) -> None:
    """Raise NotExportableError if ``operator``'s input was computed from rounded rows."""
    scope = operator.scope_inst
    makers = {made.full_name: each for each in scope.operators.values() for made in each.outputs}
    if any(getattr(each.type, "rounds", False) for each in _computed_from(operator, makers)):
        raise NotExportableError(
            f"{type(operator.raw_operator).__name__} compares what was computed from rows, which"
            " must not be rounded to float32; float64 inputs keep them"
        )


def _computed_from(operator: Any, makers: dict[str, Any]) -> list[Any]:
    """Return the graph's inputs that reach ``operator`` through arithmetic."""
    found, seen = [], set()
    waiting = [(each, False) for each in operator.inputs]
    while waiting:
        variable, computed = waiting.pop()
        if (variable.full_name, computed) in seen:
            continue
        seen.add((variable.full_name, computed))
        maker = makers.get(variable.full_name)
        if maker is not None:
            computed = computed or not _only_moves(maker)
            waiting += [(each, computed) for each in maker.inputs]
        elif computed:
            found.append(variable)
    return found


def _only_moves(operator: Any) -> bool:
    """Return whether each number that the operator returns is from its input or from training."""
    made_by = operator.raw_operator
    known = operator.type in _MOVING or (operator.type, type(made_by)) in _moving
    return known or getattr(made_by, "moves", False)


def _is_float32(dtype: Any) -> bool:
    return isinstance(dtype, np.dtype) and dtype in (np.float32, np.float16)
