"""Latency of real models in real processes: what is measured, what fails, and who goes on."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import mlflow
import numpy as np
import pytest
from onnx import helper, numpy_helper

from mlflow_onnx_flavor import latency
from mlflow_onnx_flavor.errors import ConfigurationError
from mlflow_onnx_flavor.inputs import Inputs
from mlflow_onnx_flavor.latency import rounds as rounds_module
from mlflow_onnx_flavor.latency.contestants import TASKS
from mlflow_onnx_flavor.latency.statistics import Precision
from mlflow_onnx_flavor.processes.worker import Worker
from mlflow_onnx_flavor.schemas.configuration import LatencyOptions, ServerScenario
from mlflow_onnx_flavor.schemas.evidence import ExecutionProvider, LatencyReport
from tests.builders import CPU, candidate, identity
from tests.onnx_graphs import save, tensor

pytestmark = pytest.mark.process

ONE = {"batch_size": 1, "sequence_length": None}
ABSENT = ExecutionProvider(name="CUDAExecutionProvider")
# Whatever the machine does meanwhile: nothing is to be decided.
AT_FIRST_LOOK = Precision(half_width=1e9, decisive=())

MODEL_CODE = """
import os
import signal
import time

import mlflow


class Misbehaving(mlflow.pyfunc.PythonModel):
    calls = 0

    def predict(self, context, model_input, params=None):
        self.calls += 1
        {behaviour}
        return model_input.to_numpy()[:, 0]


mlflow.models.set_model(Misbehaving())
"""


@pytest.fixture(scope="module")
def misbehaving(tmp_path_factory):
    """Makes MLflow models that do ``behaviour`` in their calls."""

    def make(name, behaviour):
        folder = tmp_path_factory.mktemp(name)
        (folder / "code.py").write_text(MODEL_CODE.format(behaviour=behaviour))
        mlflow.pyfunc.save_model(
            str(folder / "model"), python_model=str(folder / "code.py"), pip_requirements=[]
        )
        return folder / "model"

    return make


@pytest.fixture(scope="module")
def measure(classifier_folder, frame):
    def call(candidates, providers=(CPU,), source=classifier_folder, **arguments):
        return latency.measure(
            latency.Plan(
                source,
                "sklearn",
                candidates,
                Inputs(frame),
                list(providers),
                confidence=0.9,
                source_identity=identity("source"),
                **{"batch_sizes": (1, 16), "budget_seconds": 60, "precision": AT_FIRST_LOOK}
                | arguments,
            )
        )

    return call


@pytest.fixture(scope="module")
def report(measure, candidate_folder, misbehaving):
    messages = []
    report = measure(
        [
            candidate("converted", candidate_folder),
            candidate("bare", candidate_folder / "model.onnx"),
            candidate(
                "killed", misbehaving("killed", "self.calls > 20 and os.kill(os.getpid(), 9)")
            ),
            candidate("raising", misbehaving("raising", "raise ValueError('no such luck')")),
        ],
        champion=candidate("champion", candidate_folder),
        on_progress=messages.append,
    )
    return report, messages


def rows_of(report, name, baseline="source"):
    wanted = name, baseline, "pyfunc"
    return [row for row in report.rows if (row.candidate, row.baseline, row.path) == wanted]


@pytest.mark.parametrize("name", ["converted", "bare"])
@pytest.mark.parametrize("baseline", ["source", "champion"])
def test_a_candidate_is_measured_against_each_baseline_at_each_batch_size(report, name, baseline):
    rows = rows_of(report[0], name, baseline)
    assert [row.batch_size for row in rows] == [1, 16]
    for row in rows:
        assert row.status == "measured" and row.execution_provider == CPU
        assert row.rounds == 8
        assert 0 < row.speedup.low <= row.speedup.estimate <= row.speedup.high
        assert row.speedup.confidence == 0.9
        for figures in (row.candidate_figures, row.baseline_figures):
            assert figures.calls >= 2 * row.rounds
            assert 0 < figures.p50_ms <= figures.p90_ms <= figures.p99_ms
            assert len(figures.histogram_ms) == 101
            assert figures.throughput_rows_per_second > 0


def test_a_model_that_is_killed_is_a_row_and_the_others_go_on(report):
    for row in rows_of(report[0], "killed"):
        assert row.status == "crashed" and row.speedup is None
        assert "SIGKILL" in row.cause


def test_a_model_that_raises_is_a_row_with_its_message(report):
    for row in rows_of(report[0], "raising"):
        assert row.status == "failed" and "no such luck" in row.cause


def test_what_it_costs_to_load_is_told_of_each_that_loads(report, candidate_folder):
    loads = {row.model: row for row in report[0].loads}
    assert list(loads) == ["source", "champion", "converted", "bare", "killed"]  # it did load
    assert loads["source"].execution_provider is None
    assert loads["converted"].execution_provider == CPU
    assert loads["bare"].figures.size_bytes == (candidate_folder / "model.onnx").stat().st_size
    for row in loads.values():
        assert row.figures.load_seconds > 0 and row.figures.first_call_ms > 0
        assert 2**24 < row.figures.peak_memory_bytes < 2**34


def test_evidence_names_inputs_versions_and_time_and_survives_json(report, frame):
    measured = report[0]
    assert measured.inputs_digest == Inputs(frame).digest()
    assert measured.environment.versions["scikit-learn"]
    assert 0 < measured.measuring_seconds < measured.seconds
    assert LatencyReport.model_validate_json(measured.model_dump_json()) == measured


def test_progress_says_what_is_timed(report):
    assert report[1][:2] == [
        "loading 6 models, each in its own process",
        "timing them in turns, batches of 1 and 16",
    ]


NEVER_ENOUGH = Precision(half_width=0.0, clear_half_width=0.0)


def test_a_slow_model_is_measured_within_the_budget(measure, candidate_folder, misbehaving):
    report = measure(
        [
            candidate("slow", misbehaving("slow", "time.sleep(0.25)")),
            candidate("quick", candidate_folder),
        ],
        batch_sizes=(1,),
        budget_seconds=3,
        precision=NEVER_ENOUGH,
    )
    (slow,), (quick,) = (rows_of(report, name) for name in ("slow", "quick"))
    assert (slow.status, quick.status) == ("measured", "measured")
    assert slow.rounds == slow.candidate_figures.calls >= 2  # a long call is a block of its own
    assert slow.speedup.high < 1 < quick.speedup.estimate / slow.speedup.estimate


def test_a_stuck_model_is_stopped_and_the_others_are_measured(
    measure, candidate_folder, misbehaving, monkeypatch
):
    monkeypatch.setattr(rounds_module, "MIN_BLOCK_LIMIT_S", 3.0)
    report = measure(
        [
            # It opens and meets the batch size, and hangs in its first block.
            candidate("stuck", misbehaving("stuck", "self.calls > 31 and time.sleep(600)")),
            candidate("quick", candidate_folder),
        ],
        batch_sizes=(1,),
        budget_seconds=1.5,
        precision=NEVER_ENOUGH,
    )
    (stuck,), (quick,) = (rows_of(report, name) for name in ("stuck", "quick"))
    assert stuck.status == "timed out" and "give more budget seconds" in stuck.cause
    assert quick.status == "measured" and quick.speedup is not None


def test_a_provider_that_is_not_here_is_a_row(measure, candidate_folder):
    report = measure([candidate("converted", candidate_folder)], (CPU, ABSENT), batch_sizes=(1,))
    here, absent = rows_of(report, "converted")
    assert (here.status, here.execution_provider) == ("measured", CPU)
    assert (absent.status, absent.execution_provider) == ("failed", ABSENT)
    assert "CUDAExecutionProvider" in absent.cause


def test_a_source_that_does_not_load_is_the_cause_of_every_row(
    measure, classifier_folder, candidate_folder, tmp_path
):
    shutil.copytree(classifier_folder, tmp_path / "broken")
    (tmp_path / "broken" / "model.pkl").write_bytes(b"not a pickle")
    report = measure([candidate("converted", candidate_folder)], source=tmp_path / "broken")
    assert {row.status for row in report.rows} == {"failed"}
    assert all(row.cause.startswith("the source: ") for row in report.rows)
    assert [row.model for row in report.loads] == ["converted"]


@pytest.fixture(scope="module")
def participant(candidate_folder, frame):
    """A worker with the candidate open, started by a process that holds 400 MB."""
    ballast = np.ones(50_000_000)
    with tempfile.TemporaryDirectory() as folder, Worker() as worker:
        opening = {
            "path": candidate_folder,
            "provider": CPU.model_dump(),
            "inputs": [[None, Inputs(frame).save(Path(folder))]],
            "first": ONE,
        }
        worker.call(f"{TASKS}:open_model", opening)
        worker.call(f"{TASKS}:meet_workload", {"workload": ONE})
        yield worker
        del ballast


def test_a_participant_sleeps_before_the_next_one_is_timed(participant):
    block = {"workload": ONE, "block_ms": 5, "warmup_ms": 1}
    assert len(participant.call(f"{TASKS}:run_block", block)["pyfunc"]) >= 2
    participant.call(f"{TASKS}:come_to_rest")
    assert participant.call(f"{TASKS}:threads_at_work") == 0


def test_peak_memory_is_that_of_the_participant_not_of_its_parent(participant):
    assert 2**24 < participant.call(f"{TASKS}:peak_memory") < 400_000_000


def test_other_threads_offline_and_server_scenarios_are_shown(measure, candidate_folder):
    options = LatencyOptions(
        threads=[1],
        offline_batch_sizes=[1, 64],
        server=ServerScenario(rates_per_second=[200], p99_ms=1000, seconds=0.3, threads=2),
    )
    report = measure([candidate("converted", candidate_folder)], batch_sizes=(1,), options=options)
    assert {row.threads for row in report.rows} == {None, 1}
    assert [(row.model, row.threads) for row in report.loads] == [
        ("source", None),
        ("converted", None),
        ("converted", 1),
    ]
    assert report.loads[1].placement.keys() == {CPU.name} and not report.loads[0].placement
    of_session = [row for row in report.rows if row.path == "session"]
    assert [(row.threads, row.baseline) for row in of_session] == [(None, "source")]
    (served,) = (row for row in rows_of(report, "converted") if row.threads is None)
    assert of_session[0].candidate_figures.p50_ms < served.candidate_figures.p50_ms
    assert [(row.model, row.batch_size) for row in report.offline] == [
        (model, size) for size in (1, 64) for model in ("source", "converted")
    ]
    for row in report.offline:
        assert row.status == "measured"
        assert row.spread[0] <= row.rows_per_second <= row.spread[1]
    asked = [row for row in report.server if row.arrivals_per_second == 200]
    assert [row.model for row in asked] == ["source", "converted"]
    assert all(row.queries > 0 and 0 < row.p50_ms <= row.p99_ms for row in asked)
    by_model = {each.model: each.highest_per_second for each in report.capacities}
    assert by_model["converted"] > 0
    assert 0 <= report.surroundings.others_share <= 1


def test_every_sequence_length_is_measured(measure, tmp_path):
    path = open_graph(tmp_path / "model.onnx")
    report = latency.measure(
        latency.Plan(
            path,
            "onnx",
            [candidate("converted", path)],
            Inputs(np.ones((3, 4), np.float32)),
            [CPU],
            batch_sizes=(1, 2),
            confidence=0.9,
            budget_seconds=20,
            source_identity=identity("source"),
            precision=AT_FIRST_LOOK,
            options=LatencyOptions(sequence_lengths=[2, 9], offline_batch_sizes=[1]),
        )
    )
    rows = rows_of(report, "converted")
    assert [(row.sequence_length, row.batch_size) for row in rows] == [
        (2, 1),
        (2, 2),
        (9, 1),
        (9, 2),
    ]
    assert all(row.status == "measured" for row in rows)


def test_sequence_lengths_of_columns_are_refused(measure, candidate_folder):
    with pytest.raises(ConfigurationError, match="sequence_lengths needs inputs with an open axis"):
        measure(
            [candidate("converted", candidate_folder)],
            options=LatencyOptions(sequence_lengths=[8]),
        )


def open_graph(path):
    """x, of any rows and any length, summed along the length."""
    return save(
        [helper.make_node("ReduceSum", ["x", "axes"], ["y"], keepdims=0)],
        [tensor("x", ["rows", "length"])],
        [tensor("y", ["rows"])],
        path,
        [numpy_helper.from_array(np.array([1]), "axes")],
    )
