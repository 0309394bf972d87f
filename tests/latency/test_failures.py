"""Whole measurements with real processes: source against candidate, and what failures leave."""

from __future__ import annotations

import os
import signal
import sys

import pytest

from mlflow_onnx_flavor import latency
from mlflow_onnx_flavor.artifact.saved_model import CandidateFolder
from mlflow_onnx_flavor.inputs import Inputs
from mlflow_onnx_flavor.latency import contestants as participants_module
from mlflow_onnx_flavor.latency.rounds import Rounds
from mlflow_onnx_flavor.latency.statistics import Precision
from mlflow_onnx_flavor.latency.workloads import PYFUNC, Workload
from mlflow_onnx_flavor.processes import pool
from mlflow_onnx_flavor.processes.worker import Worker
from mlflow_onnx_flavor.schemas.evidence import LatencyReport, ModelIdentity
from tests.builders import CPU

pytestmark = pytest.mark.process

COARSE = Precision(half_width=0.5, clear_half_width=1.0)
NEVER = Precision(half_width=0.0, clear_half_width=0.0)


@pytest.fixture(autouse=True)
def workers(monkeypatch) -> list[Worker]:
    """Every process that a measurement started; none may be left when it is over."""
    started = []

    class Recorded(Worker):
        def __init__(self, **arguments):
            super().__init__(**arguments)
            started.append(self)

    for module in (participants_module, pool):
        monkeypatch.setattr(module, "Worker", Recorded)
    yield started
    assert not [each.name for each in started if each.alive]


def candidate(folder, name="converted") -> CandidateFolder:
    return CandidateFolder(ModelIdentity(name=name, uri=str(folder), digest="0"), folder)


def measured(source, candidates, frame, **options) -> LatencyReport:
    arguments = {"batch_sizes": (1, 8), "budget_seconds": 5.0, "precision": COARSE} | options
    return latency.measure(
        latency.Plan(
            source,
            "sklearn",
            candidates,
            Inputs(frame),
            [CPU],
            confidence=0.95,
            source_identity=ModelIdentity(name="source", uri=str(source), digest="0"),
            **arguments,
        )
    )


def by_key(report: LatencyReport) -> dict:
    rows = [row for row in report.rows if row.path == PYFUNC]
    return {(row.candidate, row.baseline, row.batch_size): row for row in rows}


def test_source_champion_and_a_candidate_that_does_not_open(
    classifier_folder, candidate_folder, frame, tmp_path, workers
):
    (tmp_path / "MLmodel").write_text("no model at all")
    report = measured(
        classifier_folder,
        [candidate(candidate_folder), candidate(tmp_path, "broken")],
        frame,
        champion=candidate(candidate_folder, "champion"),
    )
    rows = by_key(report)
    assert len(rows) == 2 * 2 * 2 + 2 and len(workers) == 4
    for size in (1, 8):
        for baseline in ("source", "champion"):
            row = rows["converted", baseline, size]
            assert row.status == "measured" and row.rounds >= 2
            assert row.speedup.low <= row.speedup.estimate <= row.speedup.high
            assert row.candidate_figures.p50_ms <= row.candidate_figures.p99_ms
            broken = rows["broken", baseline, size]
            assert broken.status == "failed" and broken.cause and broken.speedup is None
    assert rows["converted", "source", 1].speedup.low > 1  # pandas and scikit-learn are far slower
    assert {each.model for each in report.loads} == {"source", "champion", "converted"}
    assert all(each.figures.peak_memory_bytes > 1e6 for each in report.loads)
    assert 0 < report.measuring_seconds < report.seconds
    assert LatencyReport.model_validate_json(report.model_dump_json()) == report


def test_a_participant_that_is_killed_is_a_row_and_the_others_go_on(
    classifier_folder, candidate_folder, frame, monkeypatch
):
    class Killing(Rounds):
        """Ends the victim's process where its second block is about to be asked for."""

        def _round(self):
            victim = next(p for p in self._participants if p.entrant.identity.name == "victim")
            if self.times[victim, Workload(1), PYFUNC] and victim.running:
                os.kill(victim._worker.pid, signal.SIGKILL)
            return super()._round()

    monkeypatch.setattr(sys.modules["mlflow_onnx_flavor.latency.measure"], "Rounds", Killing)
    report = measured(
        classifier_folder,
        [candidate(candidate_folder), candidate(candidate_folder, "victim")],
        frame,
        precision=NEVER,
        budget_seconds=1.5,
    )
    rows = by_key(report)
    for size in (1, 8):
        assert rows["victim", "source", size].status == "crashed"
        assert "SIGKILL" in rows["victim", "source", size].cause
        assert rows["converted", "source", size].status == "measured"
    assert {each.model for each in report.loads} == {"source", "converted", "victim"}


def test_a_tiny_budget_still_ends_with_rows(classifier_folder, candidate_folder, frame):
    report = measured(
        classifier_folder,
        [candidate(candidate_folder)],
        frame,
        budget_seconds=0.001,
        precision=NEVER,
    )
    assert [row.rounds for row in report.rows] == [2, 2, 2, 2]
    assert all(row.status == "measured" and row.speedup for row in report.rows)


def test_an_interrupt_leaves_no_process(classifier_folder, candidate_folder, frame, workers):
    def interrupt(text: str) -> None:
        if text.startswith("timing"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        measured(classifier_folder, [candidate(candidate_folder)], frame, on_progress=interrupt)
    assert len(workers) == 2


def test_a_process_that_does_not_start_is_a_row(
    classifier_folder, candidate_folder, frame, monkeypatch
):
    started = participants_module.Worker

    def refused(*, name, **arguments):
        if name.startswith("refused"):
            raise OSError("too many open files")
        return started(name=name, **arguments)

    for module in (participants_module, pool):
        monkeypatch.setattr(module, "Worker", refused)
    report = measured(
        classifier_folder,
        [candidate(candidate_folder), candidate(candidate_folder, "refused")],
        frame,
        batch_sizes=(1,),
    )
    rows = by_key(report)
    assert "too many open files" in rows["refused", "source", 1].cause
    assert rows["converted", "source", 1].status == "measured"
