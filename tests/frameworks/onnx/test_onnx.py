"""Models that are ONNX already, logged with MLflow's own flavor or with this one."""

from __future__ import annotations

import mlflow
import numpy as np
import onnx
import pandas as pd
import pytest
from onnx import TensorProto, helper, numpy_helper

from mlflow_onnx_flavor import frameworks, scoring
from mlflow_onnx_flavor.conversion.convert import convert_model
from mlflow_onnx_flavor.errors import UnsupportedModelError
from mlflow_onnx_flavor.frameworks.onnx.framework import framework as source_framework
from mlflow_onnx_flavor.inputs import Inputs
from tests.frameworks.in_process import InProcessSource, converted, session_of

COLUMNS = pd.DataFrame({"a": [1.0, 2.0, 3.0, 4.0], "b": [0.5, 0.25, 0.0, -1.0]})
WEIGHT = np.array([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]], np.float32)


def graph(nodes, inputs, outputs, weights=()):
    def value(name, shape):
        return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)

    made = helper.make_graph(
        nodes,
        "graph",
        [value(*each) for each in inputs.items()],
        [value(*each) for each in outputs.items()],
        list(weights),
    )
    return helper.make_model(made, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)


def product():
    """X @ WEIGHT, three columns."""
    return graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"])],
        {"x": [None, 2]},
        {"y": [None, 3]},
        [numpy_helper.from_array(WEIGHT, "w")],
    )


def total(shape):
    return graph(
        [helper.make_node("Add", ["a", "b"], ["sum"])], {"a": shape, "b": shape}, {"sum": shape}
    )


def converted_from_built_in(model, rows, tmp_path):
    mlflow.onnx.save_model(
        model,
        str(tmp_path / "source"),
        signature=mlflow.models.infer_signature(rows),
        pip_requirements=[],
    )
    conversion, _ = converted(
        tmp_path / "source", "onnx", Inputs(rows[:2]), Inputs(rows), tmp_path / "out"
    )
    session = session_of(conversion)
    return session, mlflow.pyfunc.load_model(str(tmp_path / "source"))


def test_the_built_in_flavor_is_taken_as_it_is(classifier_onnx, frame, tmp_path):
    proto = onnx.load(str(classifier_onnx.path))
    mlflow.onnx.save_model(
        proto,
        str(tmp_path / "source"),
        signature=mlflow.models.infer_signature(frame.to_numpy(np.float32)),
        pip_requirements=[],
    )
    rows = frame.to_numpy(np.float32)
    conversion, source = converted(
        tmp_path / "source", "onnx", Inputs(rows[:3]), Inputs(rows), tmp_path / "out"
    )
    assert conversion.strategy == "as_is"
    assert onnx.load(str(conversion.path)) == proto
    session = session_of(conversion)
    assert set(session.predict(rows)) == {"label", "probabilities"}


def test_this_flavor_keeps_how_its_graph_is_fed(candidate_folder, classifier_onnx, frame, tmp_path):
    conversion, _ = converted(
        candidate_folder, "onnx", Inputs(frame[:3]), Inputs(frame), tmp_path / "out"
    )
    assert conversion.graph.feeds == classifier_onnx.graph.feeds
    assert conversion.graph.prediction == classifier_onnx.graph.prediction


def test_a_frame_is_answered_as_the_built_in_flavor_answers_where_it_does(tmp_path):
    session, built_in = converted_from_built_in(total([None]), COLUMNS, tmp_path)
    pd.testing.assert_frame_equal(session.predict(COLUMNS), built_in.predict(COLUMNS))


def test_where_the_built_in_flavor_raises_every_output_is_answered(tmp_path):
    session, built_in = converted_from_built_in(total([None, 1]), COLUMNS, tmp_path)
    with pytest.raises(Exception, match="Invalid rank"):
        built_in.predict(COLUMNS)
    expected = COLUMNS[["a"]].to_numpy(np.float32) + COLUMNS[["b"]].to_numpy(np.float32)
    np.testing.assert_array_equal(session.predict(COLUMNS)["sum"], expected)


def test_outputs_that_the_built_in_flavor_interleaves_keep_their_rows(tmp_path):
    session, built_in = converted_from_built_in(product(), COLUMNS, tmp_path)
    assert len(built_in.predict(COLUMNS)) == 3 * len(COLUMNS)
    expected = COLUMNS.to_numpy(np.float32) @ WEIGHT
    np.testing.assert_allclose(session.predict(COLUMNS)["y"], expected, rtol=1e-6)


def test_a_bare_file_is_taken_with_the_weights_beside_it(tmp_path):
    onnx.save_model(
        product(),
        str(tmp_path / "model.onnx"),
        save_as_external_data=True,
        location="weights.bin",
        size_threshold=0,
    )
    rows = COLUMNS.to_numpy(np.float32)
    source = source_framework.load(tmp_path / "model.onnx", {})
    (tmp_path / "out").mkdir()
    strategy = source_framework.strategies(source, Inputs(rows))[0]
    export = strategy.export(tmp_path / "out" / "model.onnx")
    assert (tmp_path / "out" / "weights.bin").exists()
    assert export.outputs == ("y",)
    found = scoring.load_session(str(tmp_path / "out" / "model.onnx")).run(rows)
    expected = source_framework.reference_outputs(source, Inputs(rows))
    np.testing.assert_array_equal(found["y"], expected["y"])


@pytest.mark.parametrize(
    ("flavors", "expected"),
    [
        ({"python_function": 0, "sklearn": 0}, "sklearn"),
        ({"sklearn": 0, "xgboost": 0}, "xgboost"),
        ({"onnx": 0, "mlflow_onnx_flavor": 0}, "onnx"),
        ({"python_function": 0, "keras": 0}, "tensorflow"),
    ],
)
def test_the_most_specific_flavor_decides(flavors, expected):
    assert frameworks.recognise(flavors) == expected


def test_another_flavor_is_refused_with_those_that_are_known():
    with pytest.raises(
        UnsupportedModelError, match="flavor is spacy; models of catboost, lightgbm"
    ):
        frameworks.recognise({"python_function": 0, "spacy": 0})


@pytest.mark.parametrize("versions", [{"opset": 21}, {"ir_version": 10}])
def test_versions_are_upgraded_only_when_asked(versions, tmp_path):
    onnx.save_model(product(), str(tmp_path / "model.onnx"))
    rows = COLUMNS.to_numpy(np.float32)
    source = InProcessSource(tmp_path / "model.onnx", "onnx", tmp_path / "inputs")
    conversion = convert_model(
        tmp_path / "model.onnx",
        "onnx",
        Inputs(rows),
        None,
        tmp_path / "out",
        worker=source,
        **versions,
    )
    written = onnx.load(str(conversion.path))
    assert written.opset_import[0].version == versions.get("opset", 17)
    assert written.ir_version >= versions.get("ir_version", 9)
    found = scoring.load_session(str(conversion.path)).run(rows)["y"]
    np.testing.assert_allclose(found, rows @ WEIGHT, rtol=1e-6)
