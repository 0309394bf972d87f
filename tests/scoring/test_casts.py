"""Casts: the dtype that the graph wants, or an error that names the column."""

from __future__ import annotations

import decimal

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from mlflow_onnx_flavor.scoring.casts import as_dtype

NUMBERS = [np.dtype(name) for name in ("float32", "float64", "int8", "int64", "uint64", "bool")]
WHOLE = [dtype for dtype in NUMBERS if dtype.kind != "f"]


@given(
    values=st.sampled_from(NUMBERS).flatmap(
        lambda dtype: arrays.arrays(dtype, st.integers(0, 4), elements=None)
    ),
    dtype=st.sampled_from(WHOLE),
)
def test_a_number_keeps_its_value_or_is_refused(values, dtype):
    try:
        cast = as_dtype(values, dtype, "n")
    except ValueError as error:
        assert "'n'" in str(error)
        assert any(not _fits(value, dtype) for value in values.tolist())
    else:
        assert cast.dtype == dtype and cast.tolist() == values.tolist()


def _fits(value, dtype) -> bool:
    """In Python's own integers, which have no limit."""
    if value != value or abs(value) == float("inf") or value != int(value):
        return False
    low, high = (0, 1) if dtype.kind == "b" else (np.iinfo(dtype).min, np.iinfo(dtype).max)
    return low <= int(value) <= high


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        (np.array([1.5]), "'n' holds 1.5, which does not fit int64"),
        (np.array([2.0**63]), "'n' holds 9.2.*e.18, which does not fit int64"),
        (np.array([2**63], np.uint64), "which does not fit int64"),
        (np.array([np.nan]), "'n' has missing values, which int64 cannot hold"),
        (np.array([1, None], object), "'n' has missing values"),
        (np.array([1.5, 2], object), "'n' holds 1.5"),
        (np.array([2**70], object), "'n' holds 11805"),
        (np.array(["x"], object), "'n' must hold numbers for int64"),
        (np.array(["2020-01-01"], "M8[ns]"), "'n' holds datetime64"),
        (np.array([1j]), "'n' holds complex128"),
        (pd.array([1, None], "Int64"), "'n' has missing values"),
        (pd.array([1, None], "int64[pyarrow]"), "'n' has missing values"),
        (pd.array([1.5], "Float64"), "'n' holds 1.5"),
        (pd.array(["x"], "str"), "'n' must hold numbers"),
        (pd.Categorical(["x"]), "'n' must hold numbers"),
        (pd.array(["2020-01-01"], "datetime64[ns, UTC]"), "'n' holds datetime64"),
    ],
    ids=lambda value: str(getattr(value, "dtype", "")),
)
def test_what_an_integer_cannot_hold_is_named(values, sentence):
    with pytest.raises(ValueError, match=sentence):
        as_dtype(values, np.dtype("int64"), "n")


@pytest.mark.parametrize(
    "values", [[2**53 + 1, 2.0], [decimal.Decimal(2**53 + 1), 2], [np.float32(2), 2**53 + 1]]
)
def test_numbers_of_several_types_keep_their_value(values):
    cast = as_dtype(np.array(values, object), np.dtype("int64"), "n")
    assert cast.tolist() == [int(each) for each in values]


@pytest.mark.parametrize(
    "values",
    [
        np.array([1.0, np.nan]),
        np.array([1, None], object),
        np.array([1, pd.NA], object),
        np.array([decimal.Decimal(1), None], object),
        pd.array([1, None], "Int64"),
        pd.array([1.0, None], "Float64"),
        pd.array([True, None], "boolean"),
        pd.array([1, None], "int32[pyarrow]"),
        pd.array([1.0, None], "double[pyarrow]"),
        pd.Categorical([1, None]),
        pd.arrays.SparseArray([1.0, np.nan]),
    ],
    ids=lambda values: f"{type(values).__name__}-{values.dtype}",
)
def test_missing_numbers_are_nan(values):
    cast = as_dtype(values, np.dtype("float32"), "n")
    assert cast.dtype == np.float32
    np.testing.assert_array_equal(cast, [1, np.nan])


@pytest.mark.parametrize(
    "values",
    [
        np.array(["é", None], object),
        np.array(["é", np.nan], object),
        np.array(["é", ""]),
        np.array(["é".encode(), b""]),
        np.array(["é".encode(), None], object),
        pd.array(["é".encode(), None], "binary[pyarrow]"),
        np.array(["é", ""], np.dtypes.StringDType()),
        pd.array(["é", None], "str"),
        pd.array(["é", pd.NA], "string"),
        pd.array(["é", None], "string[pyarrow]"),
        pd.Categorical(["é", None]),
    ],
    ids=lambda values: f"{type(values).__name__}-{values.dtype}",
)
def test_text_is_objects_and_missing_text_is_empty(values):
    cast = as_dtype(values, np.dtype(object), "t")
    assert cast.dtype == object and cast.tolist() == ["é", ""]


@pytest.mark.parametrize("dtype", [None, object])
def test_bytes_that_are_no_text_are_named(dtype):
    with pytest.raises(ValueError, match="'t' holds bytes that are no UTF-8"):
        as_dtype(np.array([b"\xb7"], dtype), np.dtype(object), "t")


@pytest.mark.parametrize(
    ("values", "held"),
    [
        (np.array([1.0, np.nan]), "float64"),  # 12345, read as a float, would be "12345.0"
        (pd.array([1.0], "Float64"), "Float64"),
        (pd.array([1.0], "double[pyarrow]"), "double"),
        (np.array(["2020-01-01"], "M8[ns]"), "datetime64"),
        (pd.array(["2020-01-01"], "datetime64[ns, UTC]"), "datetime64"),
        (np.array([pd.Timestamp("2020-01-01")], object), "Timestamp"),
        (pd.Series([["a", "b"]]).array, r"\['a', 'b'\]"),
    ],
)
def test_what_nobody_gave_as_text_is_no_text(values, held):
    with pytest.raises(ValueError, match=f"'t' holds {held}.*, where the model takes text"):
        as_dtype(values, np.dtype(object), "t")


@pytest.mark.parametrize(
    "values", [np.array([np.nan]), pd.array([None], "Float64"), pd.array([None], "null[pyarrow]")]
)
def test_a_column_of_nothing_is_empty_text(values):
    assert as_dtype(values, np.dtype(object), "t").tolist() == [""]


def test_categories_of_numbers_and_text_are_the_text_of_each():
    values = pd.Categorical([1, None, 2])  # numpy makes floats of it
    assert as_dtype(values, np.dtype(object), "t").tolist() == [1, "", 2]


def test_text_is_no_truth_value():
    with pytest.raises(ValueError, match="'flag' holds .*U5, where the model takes bool"):
        as_dtype(np.array(["False"]), np.dtype(bool), "flag")


def test_what_is_right_already_is_not_copied():
    values = np.ones((3, 2), np.float32)
    assert as_dtype(values, np.dtype("float32"), "n") is values
