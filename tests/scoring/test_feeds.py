"""Feeds: every form of input gives the graph the same arrays."""

from __future__ import annotations

from collections import namedtuple
from decimal import Decimal

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from scipy import sparse

from mlflow_onnx_flavor.scoring import feeds as feeds_module
from mlflow_onnx_flavor.scoring import frame_columns
from mlflow_onnx_flavor.scoring.feeds import Feeder

MATRIX = {"name": "x", "layout": "matrix", "dtype": "float32", "columns": ["a", "b"]}
COLUMNS = [
    {"name": "g_a", "layout": "column", "dtype": "float32", "columns": ["a"]},
    {"name": "g_b", "layout": "column", "dtype": "int64", "columns": ["b"]},
]
TENSOR = {"name": "g", "layout": "tensor", "dtype": "int64", "key": "ids"}
TEXT = {"name": "t", "layout": "column", "dtype": "object", "columns": ["t"]}


class Row(tuple):
    """As Spark's: a tuple that knows its names."""

    def __new__(cls, **named):
        made = super().__new__(cls, reversed(named.values()))
        made.named = named
        return made

    def asDict(self):
        return self.named


Named = namedtuple("Named", ["b", "a"])

FORMS = {
    "frame": pd.DataFrame({"a": [1.0, 2.0], "b": [3.0, 4.0]}),
    "one block": pd.DataFrame(np.array([[1.0, 3.0], [2.0, 4.0]]), columns=["a", "b"]),
    "integers": pd.DataFrame({"a": [1, 2], "b": [3, 4]}),
    "mixed": pd.DataFrame({"a": [1.0, 2.0], "b": [3, 4]}),
    "shuffled with others": pd.DataFrame({"b": [3, 4], "extra": ["x", "y"], "a": [1, 2]}),
    "odd index": pd.DataFrame({"a": [1.0, 2.0], "b": [3, 4]}, index=[7, 7]),
    "nullable": pd.DataFrame({"a": pd.array([1, 2], "Int64"), "b": pd.array([3.0, 4], "Float64")}),
    "Arrow": pd.DataFrame({"a": [1.0, 2], "b": [3, 4]}).convert_dtypes(dtype_backend="pyarrow"),
    "categories": pd.DataFrame({"a": pd.Categorical([1, 2]), "b": pd.Categorical([3, 4])}),
    "objects": pd.DataFrame({"a": [1, 2], "b": [3.0, 4.0]}, dtype=object),
    "array": np.array([[1, 3], [2, 4]]),
    "array of objects": np.array([[1, 3.0], [2, 4]], object),
    "Fortran order": np.asfortranarray([[1.0, 3.0], [2.0, 4.0]]),
    "big endian": np.array([[1, 3], [2, 4]], ">f4"),
    "list": [[1, 3], [2, 4]],
    "sparse": sparse.csr_matrix([[1.0, 3.0], [2.0, 4.0]]),
    "arrays": {"a": np.array([1.0, 2.0]), "b": np.array([3.0, 4.0])},
    "arrays of one column": {"a": np.array([[1.0], [2.0]]), "b": np.array([[3.0], [4.0]])},
    "lists": {"b": [3, 4], "a": [1, 2]},
    "records": [{"a": 1, "b": 3}, {"b": 4, "a": 2.0}],
    "rows of Spark": [Row(a=1, b=3), Row(a=2, b=4)],
    "series": {"a": pd.Series([1.0, 2.0]), "b": pd.Series([3, 4], dtype="Int64")},
    "with others": {"b": [3, 4], "a": np.arange(1.0, 3.0).reshape(2, 1), "extra": 5},
    "records of pandas": [pd.Series({"b": 3, "a": 1}), pd.Series({"a": 2, "b": 4})],
    "named tuples": [Named(b=3, a=1), Named(b=4, a=2)],
    "a table of Arrow": pa.table({"b": [3, 4], "a": [1.0, 2.0]}),
    "decimals": pd.DataFrame({"a": [Decimal(1), Decimal(2)], "b": [Decimal(3), Decimal(4)]}),
    "subclass": np.asmatrix([[1.0, 3.0], [2.0, 4.0]]),
}


@pytest.fixture(params=["internal", "public"])
def pandas_access(request, monkeypatch):
    """The fast way into a frame, and the one that is left should pandas drop it."""
    for name in ("column", "block"):
        monkeypatch.setattr(
            feeds_module, f"{name}_values", getattr(frame_columns, f"_{request.param}_{name}")
        )


@pytest.mark.parametrize("form", FORMS)
def test_every_form_feeds_the_same_matrix(form, pandas_access):
    feeds = Feeder([MATRIX]).feeds(FORMS[form])
    assert list(feeds) == ["x"] and feeds["x"].dtype == np.dtype("<f4")
    np.testing.assert_array_equal(feeds["x"], [[1, 3], [2, 4]])


@pytest.mark.parametrize("form", FORMS)
def test_every_form_feeds_the_same_columns(form, pandas_access):
    feeds = Feeder(COLUMNS).feeds(FORMS[form])
    assert [array.dtype for array in feeds.values()] == [np.float32, np.int64]
    np.testing.assert_array_equal(feeds["g_a"], [[1], [2]])
    np.testing.assert_array_equal(feeds["g_b"], [[3], [4]])


def test_the_fast_way_into_a_frame_is_there():
    assert frame_columns.column_values is frame_columns._internal_column
    assert frame_columns.block_values is frame_columns._internal_block


def test_a_matrix_may_come_under_the_name_of_the_graph_input():
    array = np.ones((2, 2), np.float32)
    assert Feeder([MATRIX]).feeds({"x": array})["x"] is array


def test_text_columns_feed_text_and_numbers_side_by_side(pandas_access):
    frame = pd.DataFrame({"t": ["u", None], "a": [1.0, 2.0]})
    feeds = Feeder([COLUMNS[0], TEXT]).feeds(frame)
    assert feeds["t"].tolist() == [["u"], [""]]
    np.testing.assert_array_equal(feeds["g_a"], [[1], [2]])


def test_one_text_column_may_come_as_a_series_or_a_flat_array():
    for data in (pd.Series(["u", "v"], name="t"), np.array(["u", "v"])):
        assert Feeder([TEXT]).feeds(data)["t"].tolist() == [["u"], ["v"]]


def test_a_matrix_of_text_is_fed_as_text(pandas_access):
    feeder = Feeder([MATRIX | {"dtype": "object"}])
    feeds = feeder.feeds(pd.DataFrame({"b": ["3", "4"], "a": ["1", None]}))
    assert feeds["x"].tolist() == [["1", "3"], ["", "4"]]


def test_columns_whose_names_are_numbers_are_found(pandas_access):
    feeder = Feeder([MATRIX | {"columns": ["0", "1"]}])
    np.testing.assert_array_equal(feeder.feeds(pd.DataFrame([[1, 3]]))["x"], [[1, 3]])


def test_no_rows_give_no_rows(pandas_access):
    feeds = Feeder([MATRIX]).feeds(pd.DataFrame({"a": [], "b": []}))
    assert feeds["x"].shape == (0, 2) and feeds["x"].dtype == np.float32


def test_named_tensors_are_found_by_their_key_or_the_graphs_name():
    feeder = Feeder([TENSOR])
    for key in ("ids", "g"):
        feeds = feeder.feeds({key: np.array([[1, 2]], np.int32)})
        assert feeds["g"].dtype == np.int64 and feeds["g"].shape == (1, 2)


def test_a_frame_feeds_tensors_from_a_column_of_arrays(pandas_access):
    frame = pd.DataFrame({"ids": [np.array([1, 2]), [3, 4]]})
    np.testing.assert_array_equal(Feeder([TENSOR]).feeds(frame)["g"], [[1, 2], [3, 4]])


def arrays_of_arrays(*rows) -> np.ndarray:
    """As Spark and Parquet give them."""
    found = np.empty(len(rows), object)
    for at, row in enumerate(rows):
        found[at] = arrays_of_arrays(*row) if np.ndim(row) > 1 else np.asarray(row)
    return found


@pytest.mark.parametrize(
    "column",
    [
        pd.Series([[[1, 2], [3, 4]]] * 2),
        pd.Series(arrays_of_arrays(*[[[1, 2], [3, 4]]] * 2)),
        pd.Series([[[1, 2], [3, 4]]] * 2, dtype=pd.ArrowDtype(pa.list_(pa.list_(pa.int32())))),
    ],
    ids=["lists", "arrays", "Arrow"],
)
def test_cells_may_be_arrays_of_arrays(column, pandas_access):
    for data in (pd.DataFrame({"ids": column}), {"ids": column}, column):
        np.testing.assert_array_equal(Feeder([TENSOR]).feeds(data)["g"], [[[1, 2], [3, 4]]] * 2)


def test_bytes_are_the_numbers_of_an_image(pandas_access):
    feeder = Feeder([TENSOR | {"dtype": "uint8"}])
    feeds = feeder.feeds(pd.DataFrame({"ids": [b"12", b"\x00\xff"]}))
    assert feeds["g"].tolist() == [[49, 50], [0, 255]]


def test_no_rows_of_arrays_have_the_shape_that_the_graph_declares(pandas_access):
    feeder = Feeder([TENSOR], shapes={"g": ["rows", 3, "open"]})
    assert feeder.feeds(pd.DataFrame({"ids": []}))["g"].shape == (0, 3, 1)


@pytest.mark.parametrize(
    ("shape", "expected"), [(["rows"], (2,)), (["rows", 1], (2, 1)), (["rows", "k"], (2, 1))]
)
def test_a_value_a_row_has_the_shape_that_the_graph_declares(shape, expected, pandas_access):
    feeder = Feeder([TENSOR], shapes={"g": shape})
    assert feeder.feeds(pd.DataFrame({"ids": [1, 2]}))["g"].shape == expected
    column = {"name": "g", "layout": "column", "dtype": "int64", "columns": ["ids"]}
    feeder = Feeder([column], shapes={"g": shape})
    for data in (
        pd.DataFrame({"ids": [1, 2]}),
        {"ids": [1, 2]},
        np.array([1, 2]),
        pd.Series([1, 2]),
    ):
        assert feeder.feeds(data)["g"].shape == expected


def test_what_is_masked_is_missing():
    masked = np.ma.masked_array([[1.0, 3.0], [2.0, 4.0]], [[False, True], [False, False]])
    np.testing.assert_array_equal(Feeder([MATRIX]).feeds(masked)["x"], [[1, np.nan], [2, 4]])
    with pytest.raises(ValueError, match="'g' has missing values"):
        Feeder([TENSOR]).feeds(masked)


def test_what_a_dictionary_gives_for_a_matrix_may_be_sparse_or_a_frame():
    for data in (sparse.csr_matrix([[1.0, 3.0]]), pd.DataFrame({"b": [3.0], "a": [1.0]})):
        np.testing.assert_array_equal(Feeder([MATRIX]).feeds({"x": data})["x"], [[1, 3]])


def test_an_input_may_be_left_out_where_the_graph_says_so(pandas_access):
    feeder = Feeder([MATRIX, TENSOR], optional=["g"])
    rows = pd.DataFrame({"b": [3.0], "a": [1.0]})
    for data in (rows, rows.to_numpy()[:, ::-1], {"a": [1.0], "b": [3.0]}):
        assert list(feeder.feeds(data)) == ["x"]
    assert feeder.feeds(rows.assign(ids=7))["g"].tolist() == [7]
    assert feeder.feeds({"a": [1.0], "b": [3.0], "ids": [7]})["g"].tolist() == [7]


def test_columns_that_may_be_absent_leave_a_whole_matrix_alone(pandas_access):
    feeder = Feeder([MATRIX | {"optional": ["a", "b"]}])
    assert feeder.feeds({"x": [[1, 3]]})["x"].tolist() == [[1, 3]]
    for data in ({"b": [3.0, 4.0]}, pd.DataFrame({"b": [3.0, 4.0], "other": 1})):
        np.testing.assert_array_equal(feeder.feeds(data)["x"], [[np.nan, 3], [np.nan, 4]])


def test_a_dictionary_may_give_other_weights():
    feeder = Feeder([MATRIX], weights=[{"name": "w", "dtype": "float32"}])
    feeds = feeder.feeds({"x": [[1, 3]], "w": [5]})
    assert feeds["w"].dtype == np.float32 and feeds["w"].tolist() == [5]
    assert list(feeder.feeds({"x": [[1, 3]]})) == ["x"]


def test_a_frame_feeds_the_only_tensor_as_a_whole(pandas_access):
    for frame in (pd.DataFrame({"p": [1], "q": [2]}), pd.DataFrame({"p": [1.0], "q": [2]})):
        np.testing.assert_array_equal(Feeder([TENSOR]).feeds(frame)["g"], [[1, 2]])


@pytest.mark.parametrize(
    ("feeds", "data", "sentence"),
    [
        ([MATRIX], pd.DataFrame({"a": [1.0]}), r"the columns \['b'\] are missing; got \['a'\]"),
        ([MATRIX], {"a": [1.0]}, "input 'b' is missing; got"),
        ([MATRIX], pd.DataFrame([[1, 2, 3]], columns=["a", "a", "b"]), "'a' is there more than"),
        ([MATRIX], pd.DataFrame({"a": [1.0], "b": ["x"]}), "'b' must hold numbers"),
        ([MATRIX], pd.DataFrame({"a": [1], "b": pd.to_datetime(["2020"])}), "'b' holds datetime"),
        ([MATRIX], pd.DataFrame({"a": pd.to_datetime(["2020"]), "b": [1]}), "'a' holds datetime"),
        (COLUMNS, pd.DataFrame({"a": [1.0], "b": [1.5]}), "'b' holds 1.5"),
        (COLUMNS, np.ones((2, 3)), r"the inputs \['g_a', 'g_b'\]; give a data frame"),
        ([TENSOR], {"other": [1]}, "input 'ids' is missing"),
        ([MATRIX], {"a": np.ones((2, 3)), "b": np.ones((2, 3))}, "'a' takes one value a row"),
        ([MATRIX], {"a": [1.0], "b": [2.0, 3.0]}, "'a' has 1 rows, where 'b' has 2"),
        (COLUMNS, {"a": [1.0], "b": [2.0, 3.0]}, "'a' has 1 rows, where 'b' has 2"),
        ([MATRIX], [{"a": 1, "b": 2}, 5], "row 1 is 5, where the rows before it name"),
        ([MATRIX], [[1, 2], [3]], "lists of different lengths"),
        ([TENSOR], pd.DataFrame({"ids": [[1, 2], [3]]}), "'ids' holds arrays of different shapes"),
        ([TENSOR], pd.DataFrame({"ids": [[1, 2], None]}), "'ids' holds None in row 1"),
        ([TENSOR], pd.DataFrame({"ids": [None, [1, 2]]}), "'ids' holds None in row 0"),
        ([TENSOR], pd.DataFrame({"ids": [[[1], [2, 3]]]}), "lists of different lengths in row 0"),
        ([TENSOR], pd.DataFrame([[1, 2]], columns=["ids", "ids"]), "'ids' is there more than"),
        ([TENSOR, TEXT], pd.DataFrame({"t": ["u"]}), "input 'ids' is missing"),
    ],
)
def test_data_that_does_not_fit_is_named(feeds, data, sentence, pandas_access):
    with pytest.raises(ValueError, match=sentence):
        Feeder(feeds).feeds(data)


def test_the_callers_data_is_never_written_to(pandas_access):
    frame = pd.DataFrame({"t": ["u", None], "a": [1.0, None]}, dtype=object)
    before = frame.copy(deep=True)
    Feeder([COLUMNS[0], TEXT]).feeds(frame)
    pd.testing.assert_frame_equal(frame, before)
