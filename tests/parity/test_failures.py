"""A candidate that hangs, is killed, or runs nowhere but on the CPU is a row; the rest goes on."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest
from onnx import TensorProto, helper, numpy_helper

from mlflow_onnx_flavor import parity
from mlflow_onnx_flavor.artifact.saved_model import CandidateFolder
from mlflow_onnx_flavor.inputs import Inputs
from mlflow_onnx_flavor.parity import candidate_process
from mlflow_onnx_flavor.schemas.evidence import ExecutionProvider
from mlflow_onnx_flavor.schemas.origins import INPUT_EXAMPLE
from mlflow_onnx_flavor.source.process import SourceModelWorker
from tests.builders import CPU, identity
from tests.child_processes import kill_at_work
from tests.onnx_graphs import save, tensor

pytestmark = pytest.mark.process

# The first column is how often the model turns around: for ever on the evaluation data.
FOREVER = Inputs(pd.DataFrame({"a": [1e12, 1e12], "b": [1.0, 2.0]}))
ONCE = Inputs(pd.DataFrame({"a": [1.0, 1.0], "b": [1.0, 2.0]}), INPUT_EXAMPLE)


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """Prediction = b."""
    import mlflow
    from sklearn.linear_model import LinearRegression

    frame = pd.DataFrame(np.random.default_rng(0).normal(size=(20, 2)), columns=["a", "b"])
    model = LinearRegression().fit(frame, frame["b"])
    model.coef_, model.intercept_ = np.array([0.0, 1.0]), 0.0
    folder = tmp_path_factory.mktemp("models") / "source"
    mlflow.sklearn.save_model(
        model,
        str(folder),
        signature=mlflow.models.infer_signature(frame, model.predict(frame)),
        serialization_format="cloudpickle",
        pip_requirements=["scikit-learn"],
    )
    with SourceModelWorker(folder, "sklearn") as loaded:
        loaded.reference(ONCE, [(1, 1)])  # so that the next worker to start is a candidate's
        yield loaded


@pytest.fixture(scope="module")
def turning(tmp_path_factory):
    """Prediction = b, after as many turns as the largest a."""
    turn = helper.make_graph(
        [
            helper.make_node("Identity", ["go"], ["on"]),
            helper.make_node("Add", ["before", "one"], ["after"]),
        ],
        "turn",
        [
            tensor("turns_done", [], TensorProto.INT64),
            tensor("go", [], TensorProto.BOOL),
            tensor("before", []),
        ],
        [tensor("on", [], TensorProto.BOOL), tensor("after", [])],
    )
    path = save(
        [
            helper.make_node("Gather", ["x", "first"], ["a"], axis=1),
            helper.make_node("Gather", ["x", "second"], ["b"], axis=1),
            helper.make_node("ReduceMax", ["a"], ["most"], keepdims=0),
            helper.make_node("Cast", ["most"], ["turns"], to=TensorProto.INT64),
            helper.make_node("Loop", ["turns", "yes", "zero"], ["turned"], body=turn),
            helper.make_node("Mul", ["turned", "zero"], ["nothing"]),
            helper.make_node("Add", ["b", "nothing"], ["prediction"]),
        ],
        [tensor("x", ["rows", 2])],
        [tensor("prediction", ["rows"])],
        tmp_path_factory.mktemp("turning") / "model.onnx",
        [
            numpy_helper.from_array(np.array(0), "first"),
            numpy_helper.from_array(np.array(1), "second"),
            numpy_helper.from_array(np.array(True), "yes"),
            numpy_helper.from_array(np.float32(0), "zero"),
            numpy_helper.from_array(np.float32(1), "one"),
        ],
    )
    return CandidateFolder(identity("turning"), path)


@pytest.fixture(scope="module")
def straight(tmp_path_factory):
    """Prediction = b."""
    path = save(
        [helper.make_node("Gather", ["x", "second"], ["prediction"], axis=1)],
        [tensor("x", ["rows", 2])],
        [tensor("prediction", ["rows"])],
        tmp_path_factory.mktemp("straight") / "model.onnx",
        [numpy_helper.from_array(np.array(1), "second")],
    )
    return CandidateFolder(identity("straight"), path)


def measure(source, candidates, evaluation, example, providers=(CPU,), **how):
    return parity.measure(
        parity.Plan(
            source.folder,
            "sklearn",
            candidates,
            evaluation,
            example,
            providers,
            batch_sizes=(2,),
            source_identity=identity("source"),
            source_worker=source,
            **how,
        )
    )


def test_a_candidate_that_hangs_is_stopped_and_the_rest_is_measured(source, turning, straight):
    report = measure(source, [turning, straight], FOREVER, ONCE, timeout_s=12.0)
    assert [(row.candidate, row.inputs, row.status) for row in report.rows] == [
        ("turning", "evaluation data", "timed out"),
        ("turning", "input example", "measured"),
        ("straight", "evaluation data", "measured"),
        ("straight", "input example", "measured"),
    ]
    hung = report.rows[0]
    assert "limit of 12 s" in hung.cause and hung.remedy
    assert hung.placement[CPU.name] > 0  # it was opened: what it ran on is known
    assert all(output.disagreements(1e-6) == 0 for row in report.rows for output in row.outputs)


@pytest.fixture
def before_first(monkeypatch):
    """Does something to the worker right before it is first asked for a task."""

    def arrange(task: str, act: Callable[[int], Any]) -> None:
        call, done = candidate_process.CandidateProcess._call, []

        def watched(self, asked: str, arguments: dict[str, Any]) -> Any:
            if asked == task and not done:
                done.append(act(self._worker.pid))
            return call(self, asked, arguments)

        monkeypatch.setattr(candidate_process.CandidateProcess, "_call", watched)

    return arrange


def test_a_candidate_that_dies_at_work_is_a_row_and_the_rest_is_measured(
    source, turning, straight, before_first
):
    before_first("run", lambda pid: kill_at_work(pid, cpu_seconds=1.0))
    report = measure(source, [turning, straight], FOREVER, ONCE)
    assert [(row.candidate, row.inputs, row.status) for row in report.rows] == [
        ("turning", "evaluation data", "crashed"),
        ("turning", "input example", "measured"),
        ("straight", "evaluation data", "measured"),
        ("straight", "input example", "measured"),
    ]
    died = report.rows[0]
    assert "the CPUExecutionProvider process died with signal SIGKILL" in died.cause
    assert died.remedy


def test_a_candidate_that_dies_when_opened_is_a_row_and_the_next_is_measured(
    source, turning, straight, before_first
):
    before_first("open_candidate", lambda pid: os.kill(pid, signal.SIGKILL))
    report = measure(source, [turning, straight], ONCE, None)
    assert [row.status for row in report.rows] == ["crashed", "measured"]


def test_a_provider_that_starts_and_runs_nothing_fell_back(source, straight, monkeypatch):
    # No provider on every machine does that: the CPU stands in for one.
    open_on = candidate_process.CandidateProcess._call

    def opened_on_the_cpu(self, task: str, arguments: dict[str, Any]) -> Any:
        if task == "open_candidate":
            arguments = {**arguments, "provider": CPU.model_dump()}
        return open_on(self, task, arguments)

    monkeypatch.setattr(candidate_process.CandidateProcess, "_call", opened_on_the_cpu)
    lazy = ExecutionProvider(name="LazyExecutionProvider")
    first, second = measure(source, [straight], ONCE, None, [lazy, CPU]).rows
    assert (first.execution_provider, first.status) == (lazy, "fell back")
    assert "took none of the model's nodes" in first.cause and first.remedy
    assert first.placement == {CPU.name: 1} and first.outputs
    assert (second.execution_provider, second.status) == (CPU, "measured")
