"""Probes of columns: numbers at the ends of their range and beyond, and unseen text."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd

UNSEEN_TEXTS = (" ", "never seen before", "naïve café 東京 🙂", "x" * 300, "0")

NEGATIVE_INTEGERS = "negative integers"
ONE_VALUE = "all of one value"

_BASES = 3

Made = Iterator[tuple[str, pd.DataFrame, bool]]


def frame_probes(frame: pd.DataFrame, rng: np.random.Generator) -> Made:
    """Yield kind, rows and whether they are extreme; rows have the columns and dtypes of ``frame``.

    If a probe changes one column, the others come from given rows.
    """
    given = frame.iloc[rng.permutation(len(frame))[:_BASES]].reset_index(drop=True)
    for kind, changes, extreme in _changes(frame):
        rows = [_changed(given, column, values, rng) for column, values in changes]
        rows = [each for each in rows if each is not None]
        if rows:
            yield kind, pd.concat(rows, ignore_index=True).astype(frame.dtypes.to_dict()), extreme
    together = _at_once(given, frame)
    if len(together):
        yield "every column at once", together, False
    equal = _of_one_value(given, frame)
    if len(equal):
        yield ONE_VALUE, equal, False
    yield "columns of different rows", _recombined(frame, rng), False
    mixed = _between(frame, rng)
    if mixed is not None:
        yield "between two rows", mixed, False


def _changes(
    frame: pd.DataFrame,
) -> Iterator[tuple[str, list[tuple[int, Sequence[Any]]], bool]]:
    """Yield, for each kind of probe, the values to put into each column (by position)."""
    numbers = [at for at in range(frame.shape[1]) if _is_number(frame.dtypes.iloc[at])]
    texts = [at for at in range(frame.shape[1]) if _is_text(frame.iloc[:, at])]
    ranges = {at: _range(frame.iloc[:, at]) for at in numbers}
    yield "ends of the range", [(at, _ends(*ranges[at])) for at in numbers], False
    yield "beyond the range", [(at, _beyond(*ranges[at])) for at in numbers], False
    signed = [at for at in numbers if getattr(frame.dtypes.iloc[at], "kind", "") == "i"]
    yield NEGATIVE_INTEGERS, [(at, (-1, -2, -7)) for at in signed], False
    yield "missing", [(at, [None]) for at in range(frame.shape[1])], False
    yield "text never seen", [(at, UNSEEN_TEXTS) for at in texts], False
    # A graph has no other form of missing text, so a candidate may read it as missing.
    yield "empty text", [(at, [""]) for at in texts], True
    yield "every text", [(at, _seen(frame.iloc[:, at])) for at in texts], False
    yield "extreme numbers", [(at, _extreme(*ranges[at])) for at in numbers], True
    yield "infinite", [(at, [np.inf, -np.inf]) for at in numbers], True


def _at_once(given: pd.DataFrame, frame: pd.DataFrame) -> pd.DataFrame:
    """Return all columns of numbers at an end of their range, or beyond it, at once.

    A branch on a sum of columns then goes both ways.
    """
    numbers = [at for at in range(frame.shape[1]) if _is_number(frame.dtypes.iloc[at])]
    places = {at: _range(frame.iloc[:, at]) for at in numbers}
    rows = []
    for place in range(4) if numbers else ():
        row = given.iloc[:1].copy()
        for at, (low, high) in places.items():
            wide = (high - low) / 4
            value = (low, high, low - wide, high + wide)[place]
            dtype = frame.dtypes.iloc[at]
            whole = value if getattr(dtype, "kind", "f") == "f" else round(value)
            row.isetitem(at, _held(whole, dtype))
        if not row.iloc[:, numbers].isna().any(axis=None):
            rows.append(row)
    if not rows:
        return frame.iloc[:0]
    return pd.concat(rows, ignore_index=True).astype(frame.dtypes.to_dict())


def _of_one_value(given: pd.DataFrame, frame: pd.DataFrame) -> pd.DataFrame:
    """Return all columns of numbers at 0, at 1, or at one value from the middle of all of them.

    Guards such as ``x / (x.sum() + 1e-12)`` exist for rows without any spread.
    """
    numbers = [at for at in range(frame.shape[1]) if _is_number(frame.dtypes.iloc[at])]
    ranges = [_range(frame.iloc[:, at]) for at in numbers]
    rows = []
    for value in (0.0, 1.0, float(np.mean(ranges))) if numbers else ():
        row = given.iloc[:1].copy()
        for at in numbers:
            dtype = frame.dtypes.iloc[at]
            floats = getattr(dtype, "kind", "f") == "f"
            row.isetitem(at, _held(value if floats else round(value), dtype))
        if not row.iloc[:, numbers].isna().any(axis=None):
            rows.append(row)
    if not rows:
        return frame.iloc[:0]
    return pd.concat(rows, ignore_index=True).astype(frame.dtypes.to_dict())


def _changed(
    given: pd.DataFrame, column: int, values: Sequence[Any], rng: np.random.Generator
) -> pd.DataFrame | None:
    """Return a row for each of ``values`` that the column can hold, the rest from ``given``."""
    dtype = given.dtypes.iloc[column]
    held = [each for each in (_held(value, dtype) for value in values) if len(each)]
    if not held:
        return None
    rows = given.iloc[rng.integers(0, len(given), len(held))].reset_index(drop=True)
    rows.isetitem(column, pd.concat(held, ignore_index=True))
    return rows


def _held(value: Any, dtype: Any) -> pd.Series:
    """Return ``value`` as a column of ``dtype``; empty if the dtype would change the value."""
    empty = pd.Series([], dtype=dtype)
    kind = getattr(dtype, "kind", "O")
    if value is None and (kind in "iub" and isinstance(dtype, np.dtype)):
        return empty
    if kind in "iu" and value is not None:
        if not np.isfinite(value) or value != round(value):
            return empty
        value = int(value)
    try:
        with np.errstate(over="ignore"):
            found = pd.Series([value]).astype(dtype)
    except (TypeError, ValueError, OverflowError):
        return empty
    if isinstance(dtype, pd.CategoricalDtype) and value is not None and found.isna().any():
        return empty
    return found


def _is_number(dtype: Any) -> bool:
    return pd.api.types.is_numeric_dtype(dtype) and not pd.api.types.is_bool_dtype(dtype)


def _is_text(column: pd.Series) -> bool:
    present = column.dropna()
    return len(present) > 0 and all(isinstance(each, str) for each in present.iloc[:100])


def _range(column: pd.Series) -> tuple[float, float]:
    """Return the smallest and largest finite number; (0, 1) if there is none."""
    numbers = column.to_numpy(np.float64, na_value=np.nan)
    numbers = numbers[np.isfinite(numbers)]
    return (float(numbers.min()), float(numbers.max())) if numbers.size else (0.0, 1.0)


def _ends(low: float, high: float) -> list[float]:
    return [low, high, *([0.0] if low <= 0 <= high else []), (low + high) / 2]


def _beyond(low: float, high: float) -> list[float]:
    """Return the values a quarter of the range outside it."""
    width = (high - low) / 4 or max(abs(high), 1.0)
    return [low - width, high + width, np.floor(low - width), np.ceil(high + width)]


def _extreme(low: float, high: float) -> list[float]:
    """Return zero, values a range's width outside, huge ones, and one below any normal float32."""
    far = [0.0, low - (high - low), high + (high - low)]
    huge = 1e6 * max(abs(low), abs(high), 1.0)
    return [*far, huge, -huge, 1e30, -1e30, 1e-40, -1e-40, 2.0**31, -(2.0**31)]


def _seen(column: pd.Series, most: int = 50) -> list[str]:
    return list(dict.fromkeys(column.dropna()))[:most]


def _recombined(frame: pd.DataFrame, rng: np.random.Generator, rows: int = 64) -> pd.DataFrame:
    """Return rows whose columns each come from another row: combinations that were not given."""
    columns = [
        frame.iloc[rng.integers(0, len(frame), rows), at].reset_index(drop=True)
        for at in range(frame.shape[1])
    ]
    return pd.concat(columns, axis=1, keys=frame.columns) if columns else frame.iloc[:0]


def _between(frame: pd.DataFrame, rng: np.random.Generator, rows: int = 64) -> pd.DataFrame | None:
    """Return rows on the line between two given rows, in all columns of floats at once."""
    floats = [
        at for at in range(frame.shape[1]) if getattr(frame.dtypes.iloc[at], "kind", "") == "f"
    ]
    if not floats or len(frame) < 2:
        return None
    first, second = (rng.integers(0, len(frame), rows) for _ in range(2))
    mixed = frame.iloc[first].reset_index(drop=True)
    share = rng.uniform(0, 1, rows)
    for at in floats:
        column = frame.iloc[:, at].to_numpy(np.float64, na_value=np.nan)
        values = column[first] * (1 - share) + column[second] * share
        mixed.isetitem(at, pd.Series(values).astype(frame.dtypes.iloc[at]))
    return mixed
