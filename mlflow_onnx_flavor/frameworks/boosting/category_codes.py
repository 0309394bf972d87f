"""Category codes: each category becomes its position among the known categories."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from mlflow_onnx_flavor.errors import NotExportableError
from mlflow_onnx_flavor.onnx_graph.builder import GraphParts


def is_text(categories: Sequence[Any]) -> bool:
    """Return whether any category is text; the graph then takes the whole column as text."""
    return any(isinstance(each, str) for each in categories)


def add_codes(
    parts: GraphParts, column: str, column_is_text: bool, categories: Sequence[Any]
) -> str:
    """Return each value's position among ``categories``, float64 of shape (rows, 1).

    A value that is not among them becomes NaN.  ``column``: shape (rows, 1), of strings if
    ``column_is_text``, else float64.
    """
    known = [(code, each) for code, each in enumerate(categories) if not _is_missing(each)]
    if column_is_text:
        return _codes_of_text(parts, column, known)
    if is_text([each for _, each in known]):
        raise NotExportableError(
            "a categorical feature holds text, which one matrix of numbers cannot carry; give the"
            " model a data frame"
        )
    values = parts.constant([[float(each) for _, each in known]], np.float64)
    found = parts.cast(parts.add("Equal", column, values), np.float64)  # (rows, categories)
    # Positions begin at 1 here, since a row without any match adds up to 0.
    ordinals = parts.constant([[code + 1.0] for code, _ in known], np.float64)
    ordinal = parts.add("MatMul", found, ordinals)
    one = parts.constant(1.0, np.float64)
    nan = parts.constant(np.nan, np.float64)
    return parts.add("Where", parts.add("Less", ordinal, one), nan, parts.add("Sub", ordinal, one))


def _codes_of_text(parts: GraphParts, column: str, known: list[tuple[int, Any]]) -> str:
    texts = [str(each) for _, each in known]
    if "" in texts:
        raise NotExportableError(
            "a categorical feature has the empty text among its categories, which ONNX cannot tell"
            " from a missing value; name the category otherwise and train again"
        )
    codes = parts.ml(
        "LabelEncoder",
        column,
        keys_strings=texts,
        values_floats=[float(code) for code, _ in known],  # float32 holds every code below 2**24
        default_float=float("nan"),
    )
    return parts.cast(codes, np.float64)


def _is_missing(value: Any) -> bool:
    return value is None or value != value
