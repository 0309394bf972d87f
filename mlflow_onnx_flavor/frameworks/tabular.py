"""Graph inputs of tabular models: one matrix, or one input per column.

A column holds numbers, text, or values without an ONNX form: dates, durations, objects of mixed
types.  Such a column becomes no input, and a model that uses it is refused by the code that
converts its use.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, cast

import numpy as np
import pandas as pd

from mlflow_onnx_flavor.inputs import Inputs
from mlflow_onnx_flavor.schemas.graph import FeedSpec

MATRIX = "input"


def all_numeric(inputs: Inputs) -> bool:
    """Return whether the inputs fit into one matrix of numbers."""
    if isinstance(inputs.data, pd.DataFrame):
        return all(_is_numeric(inputs.data[name]) for name in inputs.data)
    return isinstance(inputs.data, np.ndarray) and inputs.data.dtype.kind in "fiub"


def width(inputs: Inputs) -> int:
    """The number of columns."""
    data = cast("pd.DataFrame | np.ndarray", inputs.data)  # a dictionary has no columns
    return data.shape[1] if data.ndim > 1 else 1


def is_array_of_texts(inputs: Inputs) -> bool:
    """Return whether the inputs are texts in an array of one axis, as vectorizers take them."""
    data = inputs.data
    return isinstance(data, np.ndarray) and data.ndim == 1 and data.dtype.kind in "OU"


def text_feed() -> tuple[FeedSpec, ...]:
    """Return one graph input of texts, of shape (rows,)."""
    return (FeedSpec(name=MATRIX, layout="tensor", dtype="object"),)


def matrix_feed(inputs: Inputs, dtype: str) -> tuple[FeedSpec, ...]:
    """Return one graph input of shape (rows, columns)."""
    if isinstance(inputs.data, pd.DataFrame):
        columns = tuple(str(name) for name in inputs.data.columns)
        return (FeedSpec(name=MATRIX, layout="matrix", dtype=dtype, columns=columns),)
    return (FeedSpec(name=MATRIX, layout="tensor", dtype=dtype),)


def column_feeds(frame: pd.DataFrame, float_dtype: str, keep_integers: bool) -> list[FeedSpec]:
    """Return one graph input of shape (rows, 1) per column, named like it if ONNX allows it."""
    usable = [column for column in frame.columns if _kind(frame[column])] or list(frame.columns)
    names = _graph_names(list(map(str, usable)))
    return [
        FeedSpec(
            name=name,
            layout="column",
            dtype=_dtype_of(frame[column], float_dtype, keep_integers),
            columns=(str(column),),
        )
        for name, column in zip(names, usable, strict=True)
    ]


def skl2onnx_types(feeds: Sequence[FeedSpec], columns: int | None = None) -> list[tuple[str, Any]]:
    """Return the feeds as skl2onnx's ``initial_types``; ``columns`` is the width of a matrix."""
    from skl2onnx.common import data_types

    type_of = {
        "float32": data_types.FloatTensorType,
        "float64": data_types.DoubleTensorType,
        "int64": data_types.Int64TensorType,
        "bool": data_types.BooleanTensorType,
        "object": data_types.StringTensorType,
    }
    types = []
    for feed in feeds:
        width = 1 if feed.layout == "column" else columns
        alone = feed.dtype == "object" and feed.layout == "tensor"
        each = type_of[feed.dtype]([None] if alone else [None, width])
        if len(feed.columns) == width:
            each.column_names = feed.columns
        types.append((feed.name, each))
    return types


def names_of(variable_type: Any) -> tuple[str, ...] | None:
    """Return the DataFrame's columns in a graph input of this skl2onnx type, or None."""
    return getattr(variable_type, "column_names", None)


def class_labels(model: Any) -> tuple[str, ...]:
    """Return the ``classes_`` of a single-label classifier; () for every other model."""
    known = getattr(model, "classes_", None)
    return tuple(map(str, known)) if isinstance(known, np.ndarray) and known.ndim == 1 else ()


def _kind(column: pd.Series) -> str:
    """Return "numbers", "text", or "" for a column without an ONNX form.

    The values of a column of categories or objects decide; a column without values is text.
    """
    if isinstance(column.dtype, pd.CategoricalDtype):
        return _kind(pd.Series(column.cat.categories))
    if pd.api.types.is_complex_dtype(column):
        return ""
    if pd.api.types.is_numeric_dtype(column):  # booleans count
        return "numbers"
    held = pd.api.types.infer_dtype(column, skipna=True)
    if held in _NUMBERS:
        return "numbers"
    return "text" if held in ("string", "empty") else ""


_NUMBERS = ("integer", "floating", "mixed-integer-float", "boolean", "decimal")


def _is_numeric(column: pd.Series) -> bool:
    return _kind(column) == "numbers"


def _dtype_of(column: pd.Series, float_dtype: str, keep_integers: bool) -> str:
    if not _is_numeric(column):
        return "object"
    if not keep_integers or not pd.api.types.is_integer_dtype(column):
        return float_dtype
    # Values of pandas' nullable integers may be missing, which int64 cannot hold; scikit-learn
    # converts them to float64 too.
    return "int64" if isinstance(column.dtype, np.dtype) else "float64"


def _graph_names(columns: list[str]) -> list[str]:
    """Return unique names that every ONNX tool accepts, as close to the columns as possible."""
    names: list[str] = []
    for column in columns:
        plain = re.sub(r"\W", "_", column, flags=re.ASCII) or "column"
        name, number = plain, 1
        while name in names:
            number += 1
            name = f"{plain}_{number}"
        names.append(name)
    return names
