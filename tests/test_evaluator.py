"""The parity check as an evaluator of MLflow's own, found by its entry point."""

from __future__ import annotations

import json

import mlflow
import onnx
import pytest
from mlflow.models import MetricThreshold

from mlflow_onnx_flavor import flavor
from mlflow_onnx_flavor.errors import ConfigurationError

NAME = "onnx_parity"


@pytest.fixture(scope="module")
def logged(store, classifier_onnx, frame, tmp_path_factory):
    """The model ids of a faithful candidate and of one with a weight moved by a tenth."""
    wrong = tmp_path_factory.mktemp("wrong") / "model.onnx"
    model = onnx.load(classifier_onnx.path)
    linear = next(each for each in model.graph.node if each.op_type == "LinearClassifier")
    next(each for each in linear.attribute if each.name == "coefficients").floats[0] += 0.1
    onnx.save_model(model, str(wrong))
    with mlflow.start_run():
        return [
            flavor.log_model(path, name=name, graph=classifier_onnx.graph, input_example=frame[:3])
            for name, path in (("right", classifier_onnx.path), ("wrong", wrong))
        ]


@pytest.fixture(scope="module")
def rows(frame, labels):
    return frame.assign(target=labels)


def evaluated(model, source, rows, **config):
    with mlflow.start_run() as run:
        result = mlflow.models.evaluate(
            f"models:/{model.model_id}",
            rows,
            model_type="classifier",
            targets="target",
            evaluators=NAME,
            evaluator_config={"source_model_uri": str(source), **config},
        )
    return run.info.run_id, result


def test_a_faithful_model_passes_and_its_evidence_is_in_the_run(logged, classifier_folder, rows):
    run_id, result = evaluated(logged[0], classifier_folder, rows)
    assert result.metrics[f"{NAME}/passed"] == 1.0
    assert result.metrics[f"{NAME}/disagreement_rate"] == 0.0
    assert 0.0 < result.metrics[f"{NAME}/disagreement_bound"] < 1.0
    assert mlflow.get_run(run_id).data.metrics[f"{NAME}/passed"] == 1.0
    path = mlflow.artifacts.download_artifacts(f"runs:/{run_id}/{NAME}.json")
    with open(path) as file:
        assert json.load(file)["rows"]


def test_a_wrong_model_fails_a_threshold_on_the_metrics(logged, classifier_folder, rows):
    _, result = evaluated(logged[1], classifier_folder, rows)
    assert result.metrics[f"{NAME}/passed"] == 0.0
    assert result.metrics[f"{NAME}/max_absolute_error"] > 1e-3
    threshold = MetricThreshold(threshold=0.0, greater_is_better=False)
    thresholds = {f"{NAME}/disagreement_rate": threshold}
    with pytest.raises(Exception, match=f"{NAME}/disagreement_rate"):
        mlflow.validate_evaluation_results(thresholds, result)


def test_other_evaluations_are_left_alone():
    from mlflow_onnx_flavor.evaluator import ParityEvaluator

    assert not ParityEvaluator.can_evaluate(model_type="classifier", evaluator_config={})
    assert not ParityEvaluator.can_evaluate(model_type="classifier", evaluator_config=None)


def test_a_model_that_was_not_logged_must_be_named():
    from mlflow_onnx_flavor.evaluator import _candidate_uri

    with pytest.raises(ConfigurationError, match="candidate_model_uri"):
        _candidate_uri({}, model=None)
    assert _candidate_uri({"candidate_model_uri": "x.onnx"}, model=None) == "x.onnx"
