"""Mutations: rows near given rows, with one number changed, all changed a little, or in between."""

from __future__ import annotations

import numpy as np
import pandas as pd

from mlflow_onnx_flavor.inputs.batches import Inputs

# Exponents of ten: steps are this share of a column's range, from small to large.
_SHARES = (-4.0, -0.5)


def can_vary(inputs: Inputs) -> bool:
    """Return whether the inputs have a float to change."""
    data = inputs.data
    if isinstance(data, pd.DataFrame):
        return any(_is_float(dtype) for dtype in data.dtypes)
    arrays = data.values() if isinstance(data, dict) else [data]
    return any(array.dtype.kind == "f" for array in arrays)


def neighbours(inputs: Inputs, number: int, rng: np.random.Generator) -> Inputs:
    """Return ``number`` rows, each made from one or two of ``inputs``; same columns and dtypes."""
    first, second = (rng.integers(0, inputs.rows, number) for _ in range(2))
    data, way = inputs.data, _Way(first, second, rng)
    if isinstance(data, pd.DataFrame):
        made = data.iloc[first].reset_index(drop=True)
        floats = [at for at, dtype in enumerate(data.dtypes) if _is_float(dtype)]
        chosen = np.array(floats)[rng.integers(0, len(floats), number)]
        for at in floats:
            column = data.iloc[:, at].to_numpy()
            made.isetitem(at, pd.Series(way.vary(column, chosen == at)))
        return Inputs(made, inputs.origin)
    if isinstance(data, dict):
        return Inputs({name: way.of_array(array) for name, array in data.items()}, inputs.origin)
    return Inputs(way.of_array(data), inputs.origin)


def _is_float(dtype: object) -> bool:
    return isinstance(dtype, np.dtype) and dtype.kind == "f"


class _Way:
    """The mutation of each new row: a step of one column, of all, or a place between two rows."""

    def __init__(self, first: np.ndarray, second: np.ndarray, rng: np.random.Generator):
        number = len(first)
        self._first, self._second, self._rng = first, second, rng
        self._kind = rng.integers(0, 3, number)
        self._step = 10 ** rng.uniform(*_SHARES, number) * rng.choice([-1, 1], number)
        self._share = rng.uniform(0, 1, number)

    def of_array(self, array: np.ndarray) -> np.ndarray:
        if array.dtype.kind != "f":
            return array[self._first]
        return self.vary(array, np.zeros(len(self._first), bool))

    def vary(self, values: np.ndarray, chosen: np.ndarray) -> np.ndarray:
        """Return the mutated ``values``, shape (rows, ...).

        ``chosen``: the new rows whose single step is in these values.
        """
        before, other = values[self._first], values[self._second]
        shape = (-1, *[1] * (values.ndim - 1))
        step, share = self._step.reshape(shape), self._share.reshape(shape)
        finite = values[np.isfinite(values)]
        width = float(np.ptp(finite)) if finite.size else 1.0
        noise = self._rng.normal(size=before.shape)
        single = noise * (self._rng.uniform(size=before.shape) < 1 / max(before[0].size, 1))
        one = np.where(chosen.reshape(shape), 1.0, single if values.ndim > 1 else 0.0)
        kind = self._kind.reshape(shape)
        moved = np.select(
            [kind == 0, kind == 1],
            [before + one * step * width, before + noise * step * width],
            before * (1 - share) + other * share,
        )
        return moved.astype(values.dtype)
