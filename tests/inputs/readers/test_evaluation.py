"""Evaluation data: every format, and one sentence for everything that does not fit."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from mlflow.models import ModelSignature, infer_signature
from mlflow.types import ColSpec, Schema, TensorSpec

from mlflow_onnx_flavor.errors import InvalidDataError
from mlflow_onnx_flavor.inputs import Inputs, as_inputs, read_evaluation_data

ROWS = pd.DataFrame({"age": [31.0, 45.5], "city": ["Oslo", None], "visits": [1, 2]})
COLUMNS = infer_signature(pd.DataFrame({"age": [1.0], "city": ["x"], "visits": [1]}))
IMAGES = ModelSignature(Schema([TensorSpec(np.dtype("float32"), (-1, 2, 2))]))
NAMED = ModelSignature(
    Schema(
        [
            TensorSpec(np.dtype("int64"), (-1, 3), name="ids"),
            TensorSpec(np.dtype("float32"), (-1, 1), name="weight"),
        ]
    )
)


def write(frame: pd.DataFrame, path):
    if path.suffix == ".parquet":
        frame.to_parquet(path)
    elif path.suffix == ".csv":
        frame.to_csv(path, index=False)
    elif path.suffix == ".feather":
        frame.to_feather(path)
    else:
        table = pa.Table.from_pandas(frame)
        with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_stream(sink, table.schema) as stream:
            stream.write_table(table)
    return str(path)


@pytest.mark.parametrize("suffix", [".parquet", ".csv", ".feather", ".arrow"])
def test_tables_of_every_format_come_in_the_order_of_the_signature(suffix, tmp_path):
    shuffled = ROWS[["visits", "city", "age"]]
    frame = read_evaluation_data(write(shuffled, tmp_path / f"e{suffix}"), COLUMNS).data
    assert list(frame.columns) == ["age", "city", "visits"]
    assert frame["age"].tolist() == [31.0, 45.5] and frame["visits"].tolist() == [1, 2]
    assert frame["city"].iloc[0] == "Oslo" and pd.isna(frame["city"].iloc[1])


def test_text_that_looks_like_a_number_stays_text(tmp_path):
    path = tmp_path / "e.csv"
    path.write_text("age,city,visits\n1,007,2\n")
    assert read_evaluation_data(str(path), COLUMNS).data["city"].tolist() == ["007"]


@pytest.mark.parametrize(
    ("name", "values", "expected"),
    [
        ("age", [31, 2**53], [31.0, 2.0**53]),
        ("age", pd.array([31, None], "Int64"), [31.0, np.nan]),
        ("city", pd.Categorical(["Oslo", "Rome"]), ["Oslo", "Rome"]),
        ("visits", pd.Categorical([3, 4]), [3, 4]),
    ],
)
def test_columns_become_the_types_of_the_signature_where_that_keeps_their_values(
    name, values, expected
):
    given = ROWS.assign(**{name: values})
    before = given.copy(deep=True)
    found = as_inputs(given, COLUMNS).data[name]
    pd.testing.assert_series_equal(found, pd.Series(expected, name=name), check_dtype=False)
    assert as_inputs(given, COLUMNS).data.dtypes["age"] == np.float64
    pd.testing.assert_frame_equal(given, before)


def test_digits_of_a_csv_file_are_read_as_the_floats_of_the_signature(tmp_path):
    rows = pd.DataFrame({"a": np.array([0.1, 3], np.float32)})
    path = write(rows, tmp_path / "e.csv")
    pd.testing.assert_frame_equal(read_evaluation_data(path, infer_signature(rows)).data, rows)


@pytest.mark.parametrize(
    ("frame", "sentence"),
    [
        (ROWS.assign(age=[1, 2**53 + 1]), "does not fit the model's signature"),
        (ROWS.assign(visits=pd.array([1, None], "Int64")), r"no missing values \(row 1\)"),
        (ROWS.drop(columns="age"), "lacks the column 'age'; .*: add what is missing"),
        (ROWS.assign(label=1), "unexpected column 'label'; .*drop what is not an input"),
        (ROWS.assign(age=["old", "new"]), r"'age' must be double, but holds text \(row 0: 'old'\)"),
        (ROWS.assign(city=[1, 2]), "'city' must be string, but holds numbers"),
        (ROWS.head(0), "has no rows"),
        (ROWS.assign(visits=[1.5, 2.5]), "does not fit the model's signature"),
    ],
)
def test_what_does_not_fit_is_named(frame, sentence, tmp_path):
    with pytest.raises(InvalidDataError, match=sentence):
        read_evaluation_data(write(frame, tmp_path / "e.parquet"), COLUMNS)


def test_the_first_bad_row_is_shown(tmp_path):
    path = tmp_path / "e.csv"
    path.write_text("age,city,visits\n1,a,2\nabout 30,b,2\n")
    with pytest.raises(InvalidDataError, match=r"holds text \(row 1: 'about 30'\)"):
        read_evaluation_data(str(path), COLUMNS)


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("none.parquet", None, "there is no evaluation data at"),
        ("e.xlsx", b"x", "is read from .parquet, .csv"),
        ("e.parquet", b"not parquet", "'e.parquet' cannot be read"),
        ("e.npz", b"not a zip", "'e.npz' cannot be read"),
        ("e.csv", b"", "'e.csv' cannot be read"),
    ],
)
def test_a_missing_or_broken_file_is_one_sentence(name, content, sentence, tmp_path):
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InvalidDataError, match=sentence) as caught:
        read_evaluation_data(str(path), COLUMNS)
    assert "\n" not in str(caught.value)


def test_an_npz_with_one_array_is_the_unnamed_tensor(tmp_path):
    np.savez(tmp_path / "e.npz", anything=np.ones((3, 2, 2)))
    data = read_evaluation_data(str(tmp_path / "e.npz"), IMAGES).data
    assert data.shape == (3, 2, 2) and data.dtype == np.float32


def test_a_pickle_in_an_npz_is_not_loaded(tmp_path):
    np.savez(tmp_path / "e.npz", x=np.array([{"a": 1}], dtype=object))
    with pytest.raises(InvalidDataError, match="cannot be read"):
        read_evaluation_data(str(tmp_path / "e.npz"), IMAGES)


@pytest.mark.parametrize(
    ("array", "sentence"),
    [
        (np.ones((3, 4)), r"must have shape \(-1, 2, 2\) \(-1: any\), but has \(3, 4\)"),
        (np.full((3, 2, 2), "x"), "must be float32, but is <U1"),
    ],
)
def test_a_tensor_that_does_not_fit_says_what_was_expected(array, sentence):
    with pytest.raises(InvalidDataError, match=sentence):
        as_inputs(array, IMAGES)


def test_named_tensors_come_by_name():
    data = as_inputs({"weight": np.ones(2), "ids": np.arange(6).reshape(2, 3)}, NAMED).data
    assert data["weight"].shape == (2, 1) and data["weight"].dtype == np.float32
    assert list(data) == ["ids", "weight"]


def test_named_tensors_must_have_equally_many_rows():
    with pytest.raises(InvalidDataError, match="differ in their number of rows"):
        as_inputs({"weight": np.ones(3), "ids": np.arange(6).reshape(2, 3)}, NAMED)


def test_integers_that_would_change_are_refused():
    with pytest.raises(InvalidDataError, match="must be int64, but is float64"):
        as_inputs({"weight": np.ones(1), "ids": np.full((1, 3), 1.5)}, NAMED)


def test_a_frame_survives_being_handed_over(tmp_path):
    frame = pd.DataFrame(
        {
            "x": np.array([1.5, np.nan], np.float32),
            "n": pd.array([1, None], "Int64"),
            "city": ["007", None],
            "kind": pd.Categorical(["b", "a"], categories=["b", "a"]),
            "at": pd.to_datetime(["2026-01-01", "2026-01-02"]),
        },
        index=[7, 9],
    )
    path = Inputs(frame).hand_over(tmp_path)
    pd.testing.assert_frame_equal(Inputs.load(path).data, frame)


def test_inputs_survive_saving(tmp_path):
    for number, data in enumerate(
        [ROWS, np.ones((2, 3), np.float32), {"a": np.arange(2), "b": np.array(["x", "yy"], object)}]
    ):
        before = Inputs(data)
        after = Inputs.load(before.save(tmp_path / str(number)))
        assert after.digest() == before.digest()


def test_the_digest_depends_on_values_names_and_dtype():
    digests = {
        Inputs(each).digest()
        for each in [
            np.zeros(4),
            np.zeros(4, np.float32),
            np.zeros((2, 2)),
            np.ones(4),
            {"a": np.zeros(4)},
            pd.DataFrame({"a": np.zeros(4)}),
            pd.DataFrame({"b": np.zeros(4)}),
        ]
    }
    assert len(digests) == 6  # a frame of one column is the same data as a dictionary of one array


def test_batches_cover_every_row_once_and_wrap_when_asked():
    inputs = Inputs(np.arange(5))
    assert [each.data.tolist() for each in inputs.batches(2)] == [[0, 1], [2, 3], [4]]
    assert inputs.batch(7, start=3).data.tolist() == [3, 4, 0, 1, 2, 3, 4]


def test_a_column_of_text_goes_unnamed_to_a_model_that_takes_unnamed_text():
    signature = ModelSignature(Schema([ColSpec("string")]))
    inputs = as_inputs(pd.DataFrame({"review": ["good", "bad"]}), signature)
    assert list(inputs.data.columns) == [0] and inputs.data[0].tolist() == ["good", "bad"]
