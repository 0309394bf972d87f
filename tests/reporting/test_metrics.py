"""Metrics: named as documented, accepted by a real MLflow store."""

from __future__ import annotations

import math

import pytest
from mlflow.entities import Metric
from mlflow.tracking import MlflowClient

from mlflow_onnx_flavor.reporting.metrics import metric_name, metrics
from mlflow_onnx_flavor.reporting.model_card import tags
from mlflow_onnx_flavor.reporting.plots import latency as latency_plots
from mlflow_onnx_flavor.schemas.evidence import ExecutionProvider


def test_the_figures_of_the_evidence_are_there_under_their_names(passing):
    found = metrics(passing)
    row = passing.latency.rows[0]
    assert found["speedup.converted.CPUExecutionProvider.batch_1"] == row.speedup.estimate
    assert found["speedup_low.converted.CPUExecutionProvider.batch_1"] == row.speedup.low
    assert found["p99_ms.converted.CPUExecutionProvider.batch_1"] == row.candidate_figures.p99_ms
    assert found["p50_ms.source.CPUExecutionProvider.batch_1"] == row.baseline_figures.p50_ms
    errors = [output.max_absolute_error for output in passing.parity.rows[0].outputs]
    assert found["max_error.converted.CPUExecutionProvider.batch_1"] == max(errors)
    assert found["label_disagreements.int8_dynamic.OpenVINOExecutionProvider.batch_32"] == 23
    assert found["rows_that_differ.fused.CPUExecutionProvider.batch_32"] == 0
    assert found["peak_memory_mb.source"] == pytest.approx(318.767104)
    assert found["size_mb.fused"] == pytest.approx(0.87115)
    assert found["passed"] == 1 and found["step_seconds.check_latency"] == 21.7


def test_a_failed_release_is_not_passed(failing):
    assert metrics(failing)["passed"] == 0
    assert metrics(failing)["gates_failed"] == len(failing.verdict.failures())


def test_the_worse_of_evaluation_data_and_example_counts(passing):
    row = passing.parity.rows[0]
    scores = row.outputs[1].model_copy(update={"max_absolute_error": 0.5})
    example = row.model_copy(update={"inputs": "input example", "outputs": (scores,)})
    for rows in ((row, example), (example, row)):
        parity = passing.parity.model_copy(update={"rows": rows})
        found = metrics(passing.model_copy(update={"parity": parity}))
        assert found["max_error.converted.CPUExecutionProvider.batch_1"] == 0.5


@pytest.mark.parametrize(
    "different",
    [{"options": {"load_config": "f32"}}, {"session_options": {"intra_op_num_threads": 1}}],
)
def test_two_providers_that_differ_in_options_only_do_not_share_a_name(passing, different):
    row = passing.latency.rows[2]
    given = ExecutionProvider(name=row.execution_provider.name, **different)
    rows = (row, row.model_copy(update={"execution_provider": given}))
    latency = passing.latency.model_copy(update={"rows": rows})
    names = [
        name
        for name in metrics(passing.model_copy(update={"latency": latency}))
        if name.startswith("speedup.")
    ]
    assert len(names) == 2


def test_no_value_is_missing_or_not_a_number(any_summary):
    assert not any(math.isnan(value) for value in metrics(any_summary).values())


def test_a_real_store_takes_metrics_tags_and_plots(passing, hostile, tmp_path, new_store):
    client = MlflowClient(tracking_uri=new_store(tmp_path))
    experiment = client.create_experiment("e", artifact_location=(tmp_path / "a").as_uri())
    for summary in (passing, hostile):
        run_id = client.create_run(experiment).info.run_id
        logged = metrics(summary)
        client.log_batch(run_id, [Metric(name, value, 0, 0) for name, value in logged.items()])
        for name, value in tags(summary).items():
            client.set_tag(run_id, name, value)
        run = client.get_run(run_id)
        assert run.data.metrics == logged
        assert run.data.tags["onnx.verdict"] == "passed"
    client.log_figure(run_id, latency_plots.speedup(passing), "plots/speedup.png")
    assert [file.path for file in client.list_artifacts(run_id, "plots")] == ["plots/speedup.png"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [("a b/c:d", "a_b_c_d"), ("a..b", "a._.b"), ("../x", "_._._x"), ("é" * 300, "_" * 250)],
)
def test_any_text_becomes_a_valid_name(text, expected):
    assert metric_name(text) == expected
