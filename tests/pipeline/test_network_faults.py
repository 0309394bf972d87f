"""A release through a network that fails: retried where that is safe, no version twice."""

from __future__ import annotations

import itertools
import subprocess
import sys

import mlflow
import pytest
from mlflow import MlflowClient

from mlflow_onnx_flavor import registry
from tests.builders import QUICK_RELEASE
from tests.faulty_proxy import LOST, PASSED, REFUSED, RESET, STALLED, TRUNCATED, FaultyProxy
from tests.serving import environment, tracking_server

pytestmark = pytest.mark.release

NAME = "through a bad network"
# MLflow's own retries, but quicker.
QUICKLY = {"MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "0", "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "6"}
IMPATIENTLY = {"MLFLOW_HTTP_REQUEST_TIMEOUT": "3"}


@pytest.fixture(scope="module")
def server(tmp_path_factory, new_store):
    folder = tmp_path_factory.mktemp("server")
    with tracking_server(folder, new_store(folder)) as url:
        yield int(url.rpartition(":")[2])


@pytest.fixture
def release(classifier_folder, frame, tmp_path):
    """Runs the real command against a URL."""
    frame.to_parquet(tmp_path / "eval.parquet")
    (tmp_path / "release.yaml").write_text(QUICK_RELEASE)

    def run(url: str, name: str):
        variables = environment(MLFLOW_TRACKING_URI=url, **QUICKLY, **IMPATIENTLY)
        variables.pop("MLFLOW_EXPERIMENT_ID", None)
        command = [
            *(sys.executable, "-m", "mlflow_onnx_flavor.cli", "release", str(classifier_folder)),
            *("--registered-model", name, "--data", str(tmp_path / "eval.parquet")),
            *("--config", str(tmp_path / "release.yaml"), "--quiet"),
        ]
        return subprocess.run(
            command, cwd=tmp_path, env=variables, capture_output=True, text=True, timeout=240
        )

    return run


@pytest.fixture
def at_server(server):
    """The server itself, for a look at what is there."""
    before = mlflow.get_tracking_uri()
    mlflow.set_tracking_uri(f"http://127.0.0.1:{server}")
    yield MlflowClient()
    mlflow.set_tracking_uri(before)


def test_a_lost_answer_makes_no_second_version(server, release, at_server):
    """The registry makes the version, the answer is lost, and MLflow asks once more."""
    once = iter([LOST])

    def fault(method, path):
        return next(once, PASSED) if path.endswith("/model-versions/create") else PASSED

    with FaultyProxy(server, fault).running() as proxy:
        released = release(proxy.url, NAME)
    assert [each[2] for each in proxy.seen] == [LOST], released.stderr[-2000:]
    assert released.returncode == 0, released.stderr[-2000:]
    (version,) = registry.versions_of(NAME)
    aliases = at_server.get_registered_model(NAME).aliases
    assert {alias: str(each) for alias, each in aliases.items()} == {
        "champion": str(version.version)
    }
    assert [each.moved_to for each in registry.history(NAME)] == [str(version.version)]


@pytest.mark.slow
def test_a_network_that_fails_now_and_then_is_borne(server, release, at_server):
    number = itertools.count(1)

    def fault(_method, path):
        if path.endswith("/health"):
            return PASSED
        at = next(number)
        return STALLED if at == 100 else {5: REFUSED, 11: RESET}.get(at % 13, PASSED)

    with FaultyProxy(server, fault).running() as proxy:
        released = release(proxy.url, f"{NAME}, all the time")
    assert {REFUSED, RESET, STALLED} == {each[2] for each in proxy.seen}
    assert released.returncode == 0, released.stderr[-2000:]
    assert len(list(registry.versions_of(f"{NAME}, all the time"))) == 1


@pytest.mark.slow
def test_an_artifact_that_comes_in_half_is_no_artifact(server, release, at_server):
    """What is downloaded is what was logged, or the release says what is wrong and stops."""
    once = iter([TRUNCATED])

    def fault(method, path):
        is_model = method == "GET" and "mlflow-artifacts" in path and path.endswith("model.onnx")
        return next(once, PASSED) if is_model else PASSED

    with FaultyProxy(server, fault).running() as proxy:
        released = release(proxy.url, f"{NAME}, cut")
    assert [each[2] for each in proxy.seen] == [TRUNCATED]
    assert "Traceback" not in released.stderr
    if released.returncode == 0:
        (version,) = registry.versions_of(f"{NAME}, cut")
        assert registry.verify(f"models:/{NAME}, cut/{version.version}").chosen
    else:
        assert released.stderr.strip().startswith("mlflow-onnx: ")
        assert "unexpected" not in released.stderr


@pytest.mark.slow
def test_a_server_that_stops_answering_is_one_sentence(server, release, at_server):
    """After MLflow's own retries, each within its time limit; the registry is as it was."""

    def fault(_method, path):
        return STALLED if path.endswith("/model-versions/create") else PASSED

    with FaultyProxy(server, fault).running() as proxy:
        released = release(proxy.url, f"{NAME}, stalled")
    assert 1 < len(proxy.seen) <= 8
    assert released.returncode == 1
    (sentence,) = released.stderr.splitlines()
    assert sentence.startswith("mlflow-onnx: registering") and "timed out" in sentence
    assert f"{NAME}, stalled" not in [each.name for each in at_server.search_registered_models()]


def test_a_server_that_is_gone_is_one_sentence(server, release):
    with FaultyProxy(server, lambda *_: PASSED).running() as proxy:
        url = proxy.url
    released = release(url, NAME)
    assert released.returncode == 1
    assert "no MLflow server answers at" in released.stderr
