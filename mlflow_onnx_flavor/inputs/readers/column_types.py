"""Conversion of evaluation data's columns to the types of a signature, if every value is kept.

MLflow refuses int64 if a signature says double, and categories if it says string, which is hard on
files: a CSV file has no types, and whole numbers in it are read as integers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from mlflow_onnx_flavor.errors import InvalidDataError

if TYPE_CHECKING:
    from mlflow.models.signature import ModelSignature
    from mlflow.types.schema import ColSpec


def csv_types(signature: ModelSignature | None) -> dict[str, Any]:
    """Return the dtypes to read CSV columns with.

    Text stays text, so that "007" is kept, and float becomes float32, which the digits of a float64
    would not fit.
    """
    if signature is None or signature.inputs is None or signature.inputs.is_tensor_spec():
        return {}
    from mlflow.types import DataType

    types = {DataType.string: str, DataType.float: np.float32}
    return {
        spec.name: types[spec.type]
        for spec in signature.inputs.inputs
        if spec.name is not None and isinstance(spec.type, DataType) and spec.type in types
    }


def suited(column: pd.Series, spec: ColSpec, what: str) -> pd.Series:
    """Return ``column`` in the type that MLflow accepts for ``spec``.

    Whole numbers become floats if they keep their value, categories of text become text; other
    columns stay as they are.  Raises InvalidDataError for text instead of numbers or the reverse,
    with the first row that shows it, and for missing values in integers.
    """
    from mlflow.types import DataType

    data_type: Any = spec.type  # a column holds single values
    name = spec.name if spec.name is not None else column.name
    if isinstance(column.dtype, pd.CategoricalDtype):
        column = column.astype(column.cat.categories.dtype)
    is_integer = pd.api.types.is_integer_dtype(column)
    if data_type in (DataType.double, DataType.float) and is_integer:
        return _as_floats(column, data_type.to_numpy())
    holds_none = data_type in (DataType.integer, DataType.long) or isinstance(
        column.dtype, pd.BooleanDtype
    )
    if holds_none and column.isna().any():
        row = int(np.argmax(column.isna().to_numpy()))
        raise InvalidDataError(
            f"{what}: column {name!r} must be {data_type.name}, which in MLflow"
            f" holds no missing values (row {row}); log the model with a signature of double"
        )
    _check_kind(column, spec, name, what)
    return column


def _as_floats(column: pd.Series, dtype: np.dtype) -> pd.Series:
    exact = column.dropna().to_numpy(dtype=np.int64 if column.dtype.kind == "i" else np.uint64)
    largest = 2 ** (np.finfo(dtype).nmant + 1)  # the first whole number that has no successor
    if len(exact) and (exact.max() > largest or exact.min() < -largest):
        return column
    values = column.to_numpy(dtype=dtype, na_value=np.nan)
    return pd.Series(values, index=column.index, name=column.name)


def _check_kind(column: pd.Series, spec: ColSpec, name: Any, what: str) -> None:
    from mlflow.types import DataType

    data_type: Any = spec.type
    numeric = (DataType.integer, DataType.long, DataType.float, DataType.double)
    textual = pd.api.types.is_string_dtype(column) and not column.isna().all()
    if data_type in numeric and textual:
        bad = pd.to_numeric(column, errors="coerce").isna() & column.notna()
        position = int(np.argmax(bad.to_numpy())) if bad.any() else 0
        raise InvalidDataError(
            f"{what}: column {name!r} must be {data_type.name}, but holds text"
            f" (row {position}: {column.iloc[position]!r})"
        )
    if data_type == DataType.string and pd.api.types.is_numeric_dtype(column):
        if column.isna().all():
            return
        raise InvalidDataError(
            f"{what}: column {name!r} must be string, but holds numbers ({column.dtype})"
        )
