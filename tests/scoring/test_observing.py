"""What a model tells whoever runs it: counters in an MLflow run, traces; nothing unless asked."""

from __future__ import annotations

import gc
import json
import logging
import os
import shutil
import subprocess
import sys
import threading
import time

import mlflow
import numpy as np
import pandas as pd
import pytest
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException
from scipy import sparse

from mlflow_onnx_flavor import flavor, scoring
from tests.builders import matrix_spec
from tests.onnx_graphs import doubling
from tests.serving import score, served

CPU = "CPUExecutionProvider"
LIMIT_S = 30.0


@pytest.fixture(scope="module")
def rows() -> pd.DataFrame:
    return pd.DataFrame({"a": [1.0, 2.0, 3.0], "b": [4.0, 5.0, 6.0]})


@pytest.fixture(scope="module")
def folder(tmp_path_factory, rows) -> str:
    path = tmp_path_factory.mktemp("observed")
    flavor.save_model(
        doubling(path / "m.onnx"),
        path / "model",
        graph=matrix_spec("a", "b"),
        input_example=rows.head(1),
    )
    return str(path / "model")


@pytest.fixture
def experiment(store) -> str:
    """A new experiment, which is the active one."""
    before = mlflow.get_experiment_by_name("tests").experiment_id
    found = mlflow.create_experiment(f"serving-{time.monotonic_ns()}")
    mlflow.set_experiment(experiment_id=found)
    yield found
    mlflow.set_experiment(experiment_id=before)


@pytest.fixture(autouse=True)
def _no_writer_stays():
    """What writes for a model ends with it, before the next test begins."""
    yield
    end_writers()


def end_writers() -> None:
    gc.collect()
    for each in threading.enumerate():
        if "_write_until_over" in each.name:
            each.join(LIMIT_S)
            assert not each.is_alive()


def written(experiment: str, requests: int):
    """The only run of that experiment, once it tells of so many requests."""
    end = time.monotonic() + LIMIT_S
    while time.monotonic() < end:
        runs = MlflowClient().search_runs([experiment])
        if runs and runs[0].data.metrics.get("requests", 0) >= requests:
            assert len(runs) == 1
            return runs[0]
        time.sleep(0.05)
    raise AssertionError(f"no run of {requests} requests: {runs}")


def test_a_model_that_nobody_observes_is_asked_without_a_detour(folder, rows):
    session = scoring.load_session(folder)
    assert "_make_predict" in session.predict.__qualname__


OTHER_IS_GONE = """
import importlib, shutil, sys
first, second, name = sys.argv[1:]
sys.path.insert(0, first + "/code")
package = importlib.import_module(name)
package.load_session(first)
shutil.rmtree(first)
package.load_session(second, {"metrics_seconds": 60})
"""


@pytest.mark.process
def test_a_model_is_observed_after_the_folder_of_an_earlier_one_is_gone(folder, tmp_path):
    """Both have the same code, which was imported from the first."""
    shutil.copytree(folder, tmp_path / "first")
    (code,) = (tmp_path / "first" / "code").iterdir()
    command = [sys.executable, "-c", OTHER_IS_GONE, tmp_path / "first", folder, code.name]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr


def test_counters_are_written_to_a_run(folder, rows, experiment):
    model = mlflow.pyfunc.load_model(folder, model_config={"metrics_seconds": 0.05})
    for _ in range(3):
        np.testing.assert_array_equal(model.predict(rows), 2 * rows.to_numpy(np.float32))
    with pytest.raises(MlflowException, match="missing inputs"):
        model.predict(rows[["a"]])  # MLflow says so, before the model is asked
    with pytest.raises(ValueError, match="'a'"):
        model._model_impl.predict({"a": ["x"], "b": [1]})  # the flavor says so itself
    with pytest.raises(RuntimeError, match="Nowhere"):
        model.predict(rows, params={"execution_provider": "NowhereExecutionProvider"})
    metrics = written(experiment, 6).data.metrics
    assert metrics["rows"] == 9 and metrics[f"requests/{CPU}"] == 3
    assert (metrics["rejected"], metrics["failed"], metrics["fallback"]) == (2, 1, 0)
    times = [metrics[f"latency_ms_{name}"] for name in ("p50", "p95", "max")]
    assert times == sorted(times) and times[0] > 0


def test_the_run_says_what_the_model_ran_on(folder, rows, experiment):
    config = {
        "metrics_seconds": 0.05,
        "execution_providers": ["NowhereExecutionProvider", CPU],
        "fallback": "allow",
    }
    mlflow.pyfunc.load_model(folder, model_config=config).predict(rows)
    run = written(experiment, 1)
    tags = {
        name.removeprefix("mlflow_onnx_flavor."): value for name, value in run.data.tags.items()
    }
    assert tags["execution_providers"] == f"NowhereExecutionProvider,{CPU}"
    assert tags["fallback"] == "true" and run.data.metrics["fallback"] == 1
    assert json.loads(tags["nodes"]) == {CPU: 1} and tags["model"] == folder


def test_the_provider_that_answered_is_counted_in_place_of_one_that_fell_back(
    folder, rows, experiment
):
    config = {"metrics_seconds": 0.05, "fallback": "allow"}
    model = mlflow.pyfunc.load_model(folder, model_config=config)
    model.predict(rows, params={"execution_provider": "NowhereExecutionProvider"})
    metrics = written(experiment, 1).data.metrics
    assert metrics[f"requests/{CPU}"] == 1
    assert not any("Nowhere" in name for name in metrics)


def test_any_form_of_rows_is_counted(folder, rows, experiment):
    model = scoring.load_session(folder, {"metrics_seconds": 0.05})
    for data in (sparse.csr_matrix(rows), rows.to_numpy().tolist(), rows.to_dict("records")):
        assert len(model.predict(data)) == 3
    assert written(experiment, 3).data.metrics["rows"] == 9


def test_what_mlflow_refuses_is_counted_once_however_many_versions_of_the_code_watch(
    folder, rows, experiment
):
    """Each model brings its own; the last to be loaded is not the only one that watches."""
    quiet = {"metrics_seconds": 3600}
    loaders = (mlflow.pyfunc.load_model, scoring.load_session)
    held = [load(folder, model_config=quiet) for load in loaders * 2]
    observed = mlflow.pyfunc.load_model(folder, model_config={"metrics_seconds": 0.05})
    with pytest.raises(MlflowException, match="missing inputs"):
        observed.predict(rows[["a"]])
    observed.predict(rows)
    held.clear()
    del observed
    end_writers()
    counted = [run.data.metrics["rejected"] for run in MlflowClient().search_runs([experiment])]
    assert counted and set(counted) == {1}


PROCESS = """
import os, sys, mlflow, numpy as np
model = mlflow.pyfunc.load_model(sys.argv[1])
rows = {"a": np.ones(2), "b": np.ones(2)}
model.predict(rows)
child = os.fork()
model.predict(rows)
if child:
    os.waitpid(child, 0)
else:
    model._model_impl.predict(rows)
sys.exit()
"""


@pytest.mark.process
def test_every_process_has_its_run_which_ends_with_it(folder, experiment, tmp_path):
    variables = {"MLFLOW_ONNX_METRICS_SECONDS": "3600", "MLFLOW_EXPERIMENT_ID": experiment}
    subprocess.run(
        [sys.executable, "-c", PROCESS, folder],
        cwd=tmp_path,
        env={**os.environ, **variables},
        check=True,
        timeout=120,
    )
    runs = MlflowClient().search_runs([experiment])
    assert sorted(run.data.metrics["requests"] for run in runs) == [2, 2]
    assert {run.info.status for run in runs} == {"FINISHED"}


def test_a_model_that_nobody_holds_is_written_for_the_last_time(folder, rows, experiment):
    model = mlflow.pyfunc.load_model(folder, model_config={"metrics_seconds": 3600})
    model.predict(rows)
    del model
    gc.collect()
    run = written(experiment, 1)
    end = time.monotonic() + LIMIT_S
    while run.info.status != "FINISHED" and time.monotonic() < end:
        run = MlflowClient().get_run(run.info.run_id)
    assert run.info.status == "FINISHED"
    assert not [each for each in threading.enumerate() if "_write_until_over" in each.name]


def test_a_server_that_is_not_there_is_a_warning_and_no_more(folder, rows, monkeypatch, caplog):
    monkeypatch.setattr(mlflow.tracking.fluent, "_get_experiment_id", lambda: 1 / 0)
    model = mlflow.pyfunc.load_model(folder, model_config={"metrics_seconds": 0.02})
    with caplog.at_level(logging.WARNING):
        model.predict(rows)
        time.sleep(0.3)
        model.predict(rows)
    told = [each for each in caplog.messages if "could not be written" in each]
    assert told == ["metrics of serving could not be written: division by zero"]


def test_each_prediction_is_a_trace_without_its_values(folder, rows, experiment):
    model = mlflow.pyfunc.load_model(folder, model_config={"tracing": True})
    model.predict(rows + 7777)
    with pytest.raises(MlflowException, match="missing inputs"):
        model.predict(rows[["a"]])
    mlflow.flush_trace_async_logging()
    traces = mlflow.search_traces(locations=[experiment], return_type="list")
    refused, answered = (trace.data.spans[0] for trace in traces)
    assert answered.name == refused.name == "predict"
    assert answered.inputs == {"shape": [3, 2], "columns": {"a": "float64", "b": "float64"}}
    assert answered.outputs == {"shape": [3, 2], "dtype": "float32"}
    assert answered.attributes["execution_provider"] == CPU and answered.attributes["rows"] == 3
    assert "7777" not in answered.to_dict().__repr__() and answered.status.status_code == "OK"
    assert refused.status.status_code == "ERROR" and refused.inputs["columns"] == {"a": "float64"}


@pytest.mark.server
def test_a_real_server_writes_its_counters(folder, rows, experiment, tmp_path):
    variables = {"MLFLOW_ONNX_METRICS_SECONDS": "0.2", "MLFLOW_EXPERIMENT_ID": experiment}
    payload = {"dataframe_split": json.loads(rows.to_json(orient="split", index=False))}
    with served(folder, "local", tmp_path / "log", tmp_path, **variables) as url:
        score(url, payload)
        with pytest.raises(OSError, match="400"):
            score(url, {"dataframe_split": {"columns": ["a"], "data": [[1.0]]}})
        metrics = written(experiment, 2).data.metrics
    assert (metrics["rows"], metrics["rejected"], metrics["failed"]) == (3, 1, 0)


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("MLFLOW_ONNX_METRICS_SECONDS", "often", "must be seconds, not 'often'"),
        ("MLFLOW_ONNX_TRACING", "maybe", "must be true or false, not 'maybe'"),
    ],
)
def test_a_variable_without_sense_is_named(folder, monkeypatch, name, value, words):
    monkeypatch.setenv(name, value)
    with pytest.raises(ValueError, match=f"{name} {words}"):
        scoring.load_session(folder)
