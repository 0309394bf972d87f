"""Models that are ONNX already, logged with MLflow's own flavor or with this one."""

from __future__ import annotations

import mlflow
import numpy as np
import onnx
import pytest

from mlflow_onnx_flavor import frameworks, scoring
from mlflow_onnx_flavor.errors import UnsupportedModelError
from mlflow_onnx_flavor.inputs import Inputs
from tests.frameworks.in_process import converted


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
    session = scoring.open_graph(str(conversion.path), conversion.graph.model_dump(mode="json"))
    assert set(session.predict(rows)) == {"label", "probabilities"}


def test_this_flavor_keeps_how_its_graph_is_fed(candidate_folder, classifier_onnx, frame, tmp_path):
    conversion, _ = converted(
        candidate_folder, "onnx", Inputs(frame[:3]), Inputs(frame), tmp_path / "out"
    )
    assert conversion.graph.feeds == classifier_onnx.graph.feeds
    assert conversion.graph.prediction == classifier_onnx.graph.prediction


@pytest.mark.parametrize(
    ("flavors", "expected"),
    [
        ({"python_function": 0, "sklearn": 0}, "sklearn"),
        ({"sklearn": 0, "xgboost": 0}, "xgboost"),
        ({"onnx": 0, "mlflow_onnx_flavor": 0}, "onnx"),
    ],
)
def test_the_most_specific_flavor_decides(flavors, expected):
    assert frameworks.recognise(flavors) == expected


def test_another_flavor_is_refused_with_those_that_are_known():
    with pytest.raises(UnsupportedModelError, match="flavor is spacy; models of xgboost, lightgbm"):
        frameworks.recognise({"python_function": 0, "spacy": 0})
