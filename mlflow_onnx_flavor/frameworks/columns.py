"""How the inputs of tabular models become graph inputs: one matrix, or one input per column."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from mlflow_onnx_flavor.graph_spec import FeedSpec
from mlflow_onnx_flavor.inputs import Inputs

MATRIX = "input"


def all_numeric(inputs: Inputs) -> bool:
    """Whether the rows fit one matrix of numbers."""
    if isinstance(inputs.data, pd.DataFrame):
        return all(_is_numeric(inputs.data[name]) for name in inputs.data)
    return isinstance(inputs.data, np.ndarray) and inputs.data.dtype.kind in "fiub"


def width(inputs: Inputs) -> int:
    """The number of columns."""
    return inputs.data.shape[1]


def matrix_feed(inputs: Inputs, dtype: str) -> tuple[FeedSpec, ...]:
    """One graph input of shape (rows, columns)."""
    if isinstance(inputs.data, pd.DataFrame):
        columns = tuple(str(name) for name in inputs.data.columns)
        return (FeedSpec(name=MATRIX, layout="matrix", dtype=dtype, columns=columns),)
    return (FeedSpec(name=MATRIX, layout="tensor", dtype=dtype),)


def column_feeds(frame: pd.DataFrame, float_dtype: str, keep_integers: bool) -> list[FeedSpec]:
    """One graph input of shape (rows, 1) per column, named as the column where ONNX allows it."""
    names = _graph_names(list(map(str, frame.columns)))
    return [
        FeedSpec(
            name=name,
            layout="column",
            dtype=_dtype_of(frame[column], float_dtype, keep_integers),
            columns=(str(column),),
        )
        for name, column in zip(names, frame.columns, strict=True)
    ]


def skl2onnx_types(feeds: Sequence[FeedSpec], columns: int | None = None) -> list[tuple[str, Any]]:
    """The feeds as skl2onnx's ``initial_types``; ``columns`` is the width of a matrix."""
    from skl2onnx.common import data_types

    type_of = {
        "float32": data_types.FloatTensorType,
        "float64": data_types.DoubleTensorType,
        "int64": data_types.Int64TensorType,
        "bool": data_types.BooleanTensorType,
        "object": data_types.StringTensorType,
    }
    return [
        (feed.name, type_of[feed.dtype]([None, 1 if feed.layout == "column" else columns]))
        for feed in feeds
    ]


def _is_numeric(column: pd.Series) -> bool:
    return pd.api.types.is_numeric_dtype(column)  # booleans count


def _dtype_of(column: pd.Series, float_dtype: str, keep_integers: bool) -> str:
    if not _is_numeric(column):
        return "object"
    if keep_integers and pd.api.types.is_integer_dtype(column):
        return "int64"
    return float_dtype


def _graph_names(columns: list[str]) -> list[str]:
    """Names that every ONNX tool takes, each once, as near to the columns as can be."""
    names: list[str] = []
    for column in columns:
        plain = re.sub(r"\W", "_", column, flags=re.ASCII) or "column"
        name, number = plain, 1
        while name in names:
            number += 1
            name = f"{plain}_{number}"
        names.append(name)
    return names
