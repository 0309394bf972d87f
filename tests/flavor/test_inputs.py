"""Inputs that a model saved without a graph specification takes, through MLflow's pyfunc."""

from __future__ import annotations

import numpy as np
import onnx
import pandas as pd
import pytest
from mlflow.models import ModelSignature, infer_signature
from mlflow.types import ColSpec, DataType, Schema
from mlflow.types.schema import Array
from onnx import TensorProto, helper, numpy_helper
from scipy import sparse

from mlflow_onnx_flavor import flavor
from mlflow_onnx_flavor.schemas.graph import FeedSpec
from tests.onnx_graphs import doubling, save, side_by_side, tensor

ROWS = np.array([[1, 2], [3, 4]], np.float32)


def doubled(path, shape):
    return save(
        [helper.make_node("Add", ["x", "x"], ["y"])],
        [tensor("x", shape)],
        [tensor("y", shape)],
        path,
    )


def left_out(path):
    """Y = x + o where o is given, else x."""
    kind = helper.make_tensor_type_proto(TensorProto.FLOAT, ["rows", 2])
    given = helper.make_graph(
        [
            helper.make_node("OptionalGetElement", ["o"], ["e"]),
            helper.make_node("Add", ["x", "e"], ["sum"]),
        ],
        "given",
        [],
        [tensor("sum", ["rows", 2])],
    )
    nothing = helper.make_graph(
        [helper.make_node("Identity", ["x"], ["same"])],
        "nothing",
        [],
        [tensor("same", ["rows", 2])],
    )
    return save(
        [
            helper.make_node("OptionalHasElement", ["o"], ["is_given"]),
            helper.make_node("If", ["is_given"], ["y"], then_branch=given, else_branch=nothing),
        ],
        [
            tensor("x", ["rows", 2]),
            helper.make_value_info("o", helper.make_optional_type_proto(kind)),
        ],
        [tensor("y", ["rows", 2])],
        path,
    )


def with_a_weight_to_give(path):
    """Y = x + w, w = 10 unless another is given."""
    return save(
        [helper.make_node("Add", ["x", "w"], ["y"])],
        [tensor("x", ["rows", 2]), tensor("w", [1])],
        [tensor("y", ["rows", 2])],
        path,
        [numpy_helper.from_array(np.array([10], np.float32), "w")],
    )


@pytest.mark.parametrize("shape", [["rows", 2], ["rows", "k"], ["rows", 2, 1]])
def test_a_column_of_arrays_is_a_tensor(tmp_path, saved, shape):
    held = Array(DataType.double) if len(shape) == 2 else Array(Array(DataType.double))
    alone = ModelSignature(Schema([ColSpec(held, "v")]))
    cells = ROWS.reshape(2, *[2, 1][: len(shape) - 1]).tolist()
    model = saved(doubled(tmp_path / "m.onnx", shape), signature=alone)
    found = model.predict(pd.DataFrame({"v": cells, "id": [1, 2]}))["y"]
    np.testing.assert_array_equal(found, 2 * np.array(cells))


def test_columns_of_arrays_and_of_values_go_to_their_inputs(tmp_path, saved):
    path = save(
        [helper.make_node("Mul", ["v", "k"], ["y"])],
        [tensor("v", ["rows", "n"]), tensor("k", ["rows", 1])],
        [tensor("y", ["rows", "n"])],
        tmp_path / "m.onnx",
    )
    frame = pd.DataFrame({"k": [10.0, 100.0], "v": ROWS.tolist()})
    answer = saved(path, signature=infer_signature(frame)).predict(frame)
    np.testing.assert_array_equal(answer["y"], ROWS * [[10], [100]])


@pytest.mark.parametrize("shape", [["rows"], ["rows", 1], ["rows", "k"]])
def test_one_column_has_the_shape_that_the_graph_declares(tmp_path, saved, shape):
    frame = pd.DataFrame({"a": [1.0, 2.0], "other": [3.0, 4.0]})
    model = saved(doubled(tmp_path / "m.onnx", shape), signature=infer_signature(frame[["a"]]))
    assert model.predict(frame)["y"].ravel().tolist() == [2, 4]
    session = flavor.load_session(str(tmp_path / "saved"))
    with pytest.raises(ValueError, match=r"the columns \['a'\] are missing"):
        session.predict(frame[["other"]])


def test_one_column_needs_no_signature(tmp_path, saved):
    model = saved(doubled(tmp_path / "m.onnx", ["rows", 1]))
    for data in (pd.DataFrame({"x": [1.0, 2.0]}), {"x": [1.0, 2.0]}, pd.Series([1.0, 2.0])):
        assert model.predict(data)["y"].tolist() == [[2], [4]]


@pytest.mark.parametrize(
    "example",
    [
        ROWS.tolist(),
        ROWS,
        {"x": ROWS},
        pd.DataFrame(ROWS, columns=["a", "b"]),
        sparse.csr_matrix(ROWS),
    ],
    ids=["lists", "array", "dictionary", "frame", "sparse"],
)
def test_what_a_model_was_saved_with_as_its_example_it_takes(tmp_path, saved, example):
    answer = saved(doubling(tmp_path / "m.onnx"), input_example=example).predict(example)
    np.testing.assert_array_equal(answer["y"], 2 * ROWS)


def test_columns_without_names_are_found_by_their_place(tmp_path, saved):
    frame = pd.DataFrame(ROWS)
    answer = saved(doubling(tmp_path / "m.onnx"), signature=infer_signature(frame)).predict(frame)
    np.testing.assert_array_equal(answer["y"], 2 * ROWS)


@pytest.mark.parametrize("graph", [doubling, side_by_side])
def test_a_column_that_the_signature_calls_optional_is_missing_where_it_is_absent(
    tmp_path, saved, graph
):
    schema = Schema([ColSpec("double", "a"), ColSpec("double", "b", required=False)])
    model = saved(graph(tmp_path / "m.onnx"), signature=ModelSignature(schema))
    whole = model.predict(pd.DataFrame({"b": [3.0], "a": [1.0]}))["y"]
    for data in (pd.DataFrame({"a": [1.0]}), {"a": [1.0]}, [{"a": 1.0}]):
        np.testing.assert_array_equal(model.predict(data)["y"], [[whole[0, 0], np.nan]])
    session = flavor.load_session(str(tmp_path / "saved"))
    np.testing.assert_array_equal(session.predict({"a": [1.0]})["y"], [[whole[0, 0], np.nan]])
    with pytest.raises(ValueError, match="'a'.* missing"):
        session.predict(pd.DataFrame({"b": [1.0]}))


def test_what_an_older_version_does_not_know_is_written_only_where_it_is_used():
    feed = FeedSpec(name="x", layout="matrix", dtype="float32", columns=("a", "b"))
    assert "optional" not in feed.model_dump(mode="json")
    lacking = feed.model_copy(update={"optional": ("b",)})
    assert FeedSpec.model_validate_json(lacking.model_dump_json()) == lacking


def test_an_optional_column_of_integers_cannot_be_absent(tmp_path, saved):
    path = save(
        [helper.make_node("Identity", ["i"], ["y"])],
        [tensor("i", ["rows", 1], TensorProto.INT64)],
        [tensor("y", ["rows", 1], TensorProto.INT64)],
        tmp_path / "m.onnx",
    )
    schema = Schema([ColSpec("long", "i", required=False)])
    saved(path, signature=ModelSignature(schema))
    session = flavor.load_session(str(tmp_path / "saved"))
    with pytest.raises(ValueError, match="'i' has missing values, which int64 cannot hold"):
        session.predict(pd.DataFrame({"other": [1.0]}))


def test_an_optional_input_may_be_left_out(tmp_path, saved):
    model = saved(left_out(tmp_path / "m.onnx"))
    assert model.predict({"x": ROWS, "o": 10 * ROWS})["y"].tolist() == (11 * ROWS).tolist()
    for data in ({"x": ROWS}, ROWS, pd.DataFrame(ROWS)):
        assert model.predict(data)["y"].tolist() == ROWS.tolist()


def test_a_weight_that_is_an_input_may_be_given(tmp_path, saved):
    model = saved(with_a_weight_to_give(tmp_path / "m.onnx"))
    assert model.predict({"x": ROWS})["y"].tolist() == (ROWS + 10).tolist()
    given = {"x": ROWS, "w": np.array([1.0])}
    assert model.predict(given)["y"].tolist() == (ROWS + 1).tolist()


@pytest.mark.parametrize("kind", ["FLOAT16", "BOOL", "UINT8", "INT8", "UINT64", "DOUBLE", "INT32"])
def test_every_type_of_numbers_is_fed(tmp_path, saved, kind):
    element = getattr(TensorProto, kind)
    path = save(
        [helper.make_node("Identity", ["x"], ["y"])],
        [tensor("x", ["rows", 2], element)],
        [tensor("y", ["rows", 2], element)],
        tmp_path / "m.onnx",
    )
    answer = saved(path).predict(pd.DataFrame({"a": [1.0, 0.0], "b": [0, 1]}))["y"]
    assert answer.dtype == onnx.helper.tensor_dtype_to_np_dtype(element)
    assert answer.tolist() == [[1, 0], [0, 1]]


def test_a_table_of_arrow_is_its_columns(tmp_path, saved):
    frame = pd.DataFrame({"a": [1.0, 2.0], "b": [3.0, 4.0]})
    saved(doubling(tmp_path / "m.onnx"), signature=infer_signature(frame))
    session = flavor.load_session(str(tmp_path / "saved"))
    table = pytest.importorskip("pyarrow").Table.from_pandas(frame[["b", "a"]])
    assert session.predict(table)["y"].tolist() == [[2, 6], [4, 8]]
