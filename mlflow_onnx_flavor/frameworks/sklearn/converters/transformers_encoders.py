"""Encoders of categories: one-hot, ordinal and target.

The fitted encoder itself encodes one row for each category, and the results become tables, so
dropped, infrequent, missing and unknown categories are encoded as in scikit-learn.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from mlflow_onnx_flavor.errors import NotExportableError
from mlflow_onnx_flavor.frameworks.sklearn.converters.transformers_graph import (
    OUTSIDE,
    Column,
    Rows,
    Rule,
)
from mlflow_onnx_flavor.frameworks.sklearn.converters.transformers_graph import register as _take
from mlflow_onnx_flavor.frameworks.sklearn.text import MISSING_TEXT, is_missing

_EXACT_INTEGERS = 2**53


def register() -> None:
    """Register this file's converters with skl2onnx."""
    from sklearn import preprocessing

    _take(
        {
            preprocessing.OneHotEncoder: Rule(_one_hot, exact=True, by_column=True),
            preprocessing.OrdinalEncoder: Rule(_ordinal, exact=True, by_column=True),
            preprocessing.TargetEncoder: Rule(_target, exact=True, by_column=True),
        }
    )


def _one_hot(rows: Rows, model: Any, columns: list[Column]) -> str:
    counts = model._n_features_outs
    stops = np.cumsum(counts)
    return _looked_up(rows, model, columns, list(zip(stops - counts, stops, strict=True)))


def _ordinal(rows: Rows, model: Any, columns: list[Column]) -> str:
    return _looked_up(rows, model, columns, [(at, at + 1) for at in range(len(columns))])


def _target(rows: Rows, model: Any, columns: list[Column]) -> str:
    width = len(model.classes_) if model.target_type_ == "multiclass" else 1
    spans = [(at * width, (at + 1) * width) for at in range(len(columns))]
    return _looked_up(rows, model, columns, spans)


def _looked_up(
    rows: Rows, model: Any, columns: list[Column], spans: Sequence[tuple[int, int]]
) -> str:
    """Return each column's row of the table for its category, side by side.

    If an unknown category is an error, its place is outside the table, so that onnxruntime raises,
    as scikit-learn does.
    """
    known = [list(each) for each in model.categories_]
    found = []
    for at, (column, (start, stop)) in enumerate(zip(columns, spans, strict=True)):
        _check_categories(model, at, known[at], column.text)
        if start == stop:
            continue
        table = _asked(model, at, known[at])[:, start:stop]
        unknown = getattr(model, "handle_unknown", "ignore")
        if unknown == "error":
            absent = OUTSIDE
        else:
            absent = len(table)
            table = np.vstack([table, _asked_unknown(model, at, column.text)[:, start:stop]])
        place = _place(rows, column, known[at], absent)
        found.append(rows.add("Gather", rows.number(table), place, axis=0))
    return rows.joined(found)


def _place(rows: Rows, column: Column, categories: list[Any], absent: int) -> str:
    """Return the number of each row's category, shape (rows,); ``absent`` if it is none of them."""
    if column.text:
        keys = [MISSING_TEXT if is_missing(each) else str(each) for each in categories]
        place = rows.ml(
            "LabelEncoder",
            column.name,
            keys_strings=keys,
            values_int64s=list(range(len(keys))),
            default_int64=absent,
        )
        return rows.reshape(place, -1)
    numbers = np.array([np.nan if is_missing(each) else float(each) for each in categories])
    equal = rows.add("Equal", column.name, rows.constant(numbers))
    missing = np.flatnonzero(np.isnan(numbers))
    place = rows.add("ArgMax", rows.cast(equal, np.float32), axis=1, keepdims=1)
    some = rows.reduce("ReduceMax", rows.cast(equal, np.int64))
    some = rows.cast(some, np.bool_)
    place = rows.add("Where", some, place, rows.constant(absent, np.int64))
    if len(missing):
        is_nan = rows.add("IsNaN", column.name)
        place = rows.add("Where", is_nan, rows.constant(missing[0], np.int64), place)
    return rows.reshape(place, -1)


def _check_categories(model: Any, at: int, categories: list[Any], text: bool) -> None:
    """Raise NotExportableError for categories that the graph would confuse with others."""
    name = str(_names(model)[at])
    present = [each for each in categories if not is_missing(each)]
    missing = [each for each in categories if is_missing(each)]
    if text:
        if not all(isinstance(each, str) for each in present):
            raise NotExportableError(
                f"the column {name!r} of {type(model).__name__} holds categories of several types;"
                " make them all text, for instance with astype(str), and fit again"
            )
        if missing and MISSING_TEXT in present:
            raise NotExportableError(
                f"the column {name!r} of {type(model).__name__} has both missing values and empty"
                " texts, which are one in ONNX; replace one of them before the fit"
            )
    elif not all(isinstance(each, int | float | np.number | np.bool_) for each in present):
        raise NotExportableError(
            f"the column {name!r} was fitted as text and is given as numbers; show example rows"
            " with the types that the model was fitted on"
        )
    elif any(abs(float(each)) > _EXACT_INTEGERS for each in present if float(each).is_integer()):
        raise NotExportableError(
            f"the column {name!r} holds integers that float64 cannot tell apart; make them text"
        )
    if len(missing) > 1:
        raise NotExportableError(
            f"the column {name!r} has both None and NaN as categories, which are one in ONNX;"
            " replace one of them before the fit"
        )


def _asked(model: Any, at: int, categories: list[Any]) -> np.ndarray:
    """Return the encoding of each category of column ``at``, shape (categories, columns)."""
    frame = {}
    for column, own in enumerate(model.categories_):
        values = own if column == at else own[np.zeros(len(categories), np.int64)]
        frame[_names(model)[column]] = values
    return _transformed(model, pd.DataFrame(frame))


def _asked_unknown(model: Any, at: int, text: bool) -> np.ndarray:
    """Return the encoding of a category that the encoder does not know in column ``at``."""
    frame = {}
    for column, own in enumerate(model.categories_):
        values = own[:1]
        if column == at:
            values = [_new_text(own)] if text else [_new_number(own)]
            values = pd.Series(values, dtype=object if own.dtype.kind in "OUS" else np.float64)
        frame[_names(model)[column]] = values
    return _transformed(model, pd.DataFrame(frame))


def _new_text(categories: np.ndarray) -> str:
    # The text is longer than every category, so it is none of them.
    return "?" * (1 + max((len(each) for each in categories if isinstance(each, str)), default=0))


def _new_number(categories: np.ndarray) -> float:
    known = [float(each) for each in categories if not is_missing(each)]
    return float(np.ceil(max(known, default=0.0)) + 1.0)


def _transformed(model: Any, frame: pd.DataFrame) -> np.ndarray:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about names and unknown categories, both intended
        found = model.transform(frame)
    dense = found.toarray() if hasattr(found, "toarray") else np.asarray(found)
    return dense.astype(np.float64)


def _names(model: Any) -> Sequence[Any]:
    return getattr(model, "feature_names_in_", range(len(model.categories_)))
