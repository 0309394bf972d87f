"""Large data is compared to its last row, in batches; a comparison that was stopped goes on."""

from __future__ import annotations

import json

import mlflow
import numpy as np
import onnx
import pandas as pd
import pytest
from onnx import numpy_helper
from sklearn.linear_model import LinearRegression

import mlflow_onnx_flavor
from mlflow_onnx_flavor.comparison.merge import merged
from mlflow_onnx_flavor.comparison.outputs import compare_outputs
from mlflow_onnx_flavor.inputs import Inputs
from mlflow_onnx_flavor.inputs.readers import streams
from mlflow_onnx_flavor.parity import streaming, tasks
from mlflow_onnx_flavor.processes.pool import SpareWorkers
from tests.builders import WITHOUT_PROBES
from tests.frameworks.in_process import converted

pytestmark = pytest.mark.process

RNG = np.random.default_rng(0)
ROWS = pd.DataFrame({"a": RNG.normal(size=1500), "b": RNG.normal(size=1500)})
CPU = ["CPUExecutionProvider"]


@pytest.fixture(autouse=True)
def small_batches(monkeypatch):
    monkeypatch.setattr(streams, "ROWS_AT_ONCE", 100)
    monkeypatch.setattr(streams, "_MOST_ROWS", 500)


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    folder = tmp_path_factory.mktemp("streaming")
    model = LinearRegression().fit(ROWS, ROWS["a"] * 2 - ROWS["b"])
    mlflow.sklearn.save_model(
        model,
        str(folder / "source"),
        signature=mlflow.models.infer_signature(ROWS),
        input_example=ROWS[:5],
        pip_requirements=[],
    )
    conversion, _ = converted(
        folder / "source", "sklearn", Inputs(ROWS[:5]), Inputs(ROWS[:60]), folder / "out"
    )
    return folder / "source", conversion.path


def whole(report):
    """The row of evaluation data at the largest batch."""
    rows = [row for row in report.rows if row.inputs == "evaluation data"]
    return max(rows, key=lambda row: row.batch_size)


def test_every_row_is_compared(pair, tmp_path):
    ROWS.to_parquet(tmp_path / "rows.parquet")
    report = mlflow_onnx_flavor.check_parity(*pair, tmp_path / "rows.parquet", CPU)
    (output,) = whole(report).outputs
    assert whole(report).rows == output.rows == output.source_shape[0] == 1500
    assert output.disagreements(output.auto_tolerance) == 0


def test_what_measured_the_first_rows_answers_the_others(pair, tmp_path, monkeypatch):
    """Another process would take seconds to start and hold its memory beside the first."""
    taken, take = [], SpareWorkers.take
    monkeypatch.setattr(
        SpareWorkers, "take", lambda self, name: taken.append(name) or take(self, name)
    )
    ROWS.to_parquet(tmp_path / "rows.parquet")
    report = mlflow_onnx_flavor.check_parity(*pair, tmp_path / "rows.parquet", CPU)
    assert whole(report).rows == 1500 and taken == ["the CPUExecutionProvider process"]


def test_a_candidate_leaves_the_cores_to_the_source_while_it_waits(pair):
    tasks.open_candidate(str(pair[1]), {"name": CPU[0], "options": {}})
    options = tasks._open["session"].session.get_session_options()
    assert options.get_session_config_entry("session.intra_op.allow_spinning") == "0"


def test_what_is_wrong_in_the_last_rows_is_seen(pair, tmp_path):
    """A model that is wrong only where no row of the first batches is."""
    source, faithful = pair
    proto = onnx.load(str(faithful))
    wrong = onnx.helper.make_node("Clip", ["kept", "low", "high"], [proto.graph.output[0].name])
    for node in proto.graph.node:
        for at, name in enumerate(node.output):
            if name == proto.graph.output[0].name:
                node.output[at] = "kept"
    for name, value in (("low", -50.0), ("high", 50.0)):
        proto.graph.initializer.append(numpy_helper.from_array(np.float32(value), name))
    proto.graph.node.append(wrong)
    onnx.save(proto, tmp_path / "clipped.onnx")
    rows = ROWS.copy()
    rows.loc[1490:, "a"] = 100.0
    rows.to_parquet(tmp_path / "rows.parquet")
    clipped, data = tmp_path / "clipped.onnx", tmp_path / "rows.parquet"
    report = mlflow_onnx_flavor.check_parity(
        source, clipped, data, CPU, configuration=WITHOUT_PROBES
    )
    (output,) = whole(report).outputs
    assert output.disagreements(output.auto_tolerance) == 10


def test_a_comparison_that_was_stopped_goes_on(pair, tmp_path, monkeypatch):
    ROWS.to_parquet(tmp_path / "rows.parquet")
    monkeypatch.setattr(streaming, "_SAY_EVERY_S", 0.0)
    file, said = tmp_path / "state.json", []

    def stop(text):
        said.append(text)
        if len([each for each in said if each.startswith("compared")]) == 6:
            raise KeyboardInterrupt

    arguments = (*pair, tmp_path / "rows.parquet", CPU)
    with pytest.raises(KeyboardInterrupt):
        mlflow_onnx_flavor.check_parity(*arguments, resume=file, on_progress=stop)
    state = json.loads(file.read_text())
    assert 3 <= state["batches"] < 15
    before = len(said)
    report = mlflow_onnx_flavor.check_parity(*arguments, resume=file, on_progress=said.append)
    assert whole(report).rows == 1500 and not file.exists()
    compared = [each for each in said[before:] if each.startswith("compared")]
    assert len(compared) <= 15 - state["batches"]


def test_a_state_of_other_data_is_not_gone_on_with(pair, tmp_path, monkeypatch):
    monkeypatch.setattr(streaming, "_SAY_EVERY_S", 0.0)
    ROWS.to_parquet(tmp_path / "rows.parquet")
    file = tmp_path / "state.json"
    file.write_text(json.dumps({"data": ["other", 1, 2], "batches": 14, "found": {}}))
    report = mlflow_onnx_flavor.check_parity(*pair, tmp_path / "rows.parquet", CPU, resume=file)
    assert whole(report).rows == 1500


def test_comparisons_of_parts_add_up_to_that_of_all():
    source = RNG.normal(size=(300, 2))
    candidate = source + RNG.normal(size=source.shape) * 1e-6
    candidate[[7, 200]] = np.nan
    at_once = compare_outputs("y", source, candidate)
    parts = [
        compare_outputs("y", source[part], candidate[part], scale=at_once.scale)
        for part in (slice(0, 100), slice(100, 250), slice(250, 300))
    ]
    (joined,) = merged(merged(parts[:1], parts[1:2]), parts[2:])
    kept = {"rows", "rows_above", "nonfinite_mismatches", "max_absolute_error", "source_shape"}
    assert joined.model_dump(include=kept) == at_once.model_dump(include=kept)
    labels = [compare_outputs("l", np.array([1, 2]), np.array([1, 3])) for _ in range(2)]
    assert merged(labels[:1], labels[1:])[0].label_disagreements == 2
