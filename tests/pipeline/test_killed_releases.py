"""A release that is killed at any point and started again ends as one that was not killed."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import mlflow
import pytest
from mlflow import MlflowClient

from mlflow_onnx_flavor import registry
from tests.builders import QUICK_RELEASE
from tests.serving import environment, tracking_server

pytestmark = pytest.mark.release

NAME = "killed"


class Releases:
    """Releases of one model into one store, each a real process."""

    def __init__(self, source: Path, data: Path, folder: Path, uri: str):
        self.uri, self.folder = uri, folder
        (folder / "release.yaml").write_text(QUICK_RELEASE)
        self._command = [
            *(sys.executable, "-m", "mlflow_onnx_flavor.cli", "release", str(source)),
            *("--registered-model", NAME, "--data", str(data)),
            *("--config", str(folder / "release.yaml"), "--tracking-uri", uri),
        ]

    def run(self, kill_after_s: float | None = None, kill_at: str = "") -> int | None:
        """The exit status; None where it was killed: so long after its start, or when it says
        that it begins with ``kill_at``.
        """
        variables = environment(MLFLOW_TRACKING_URI=self.uri)
        variables.pop("MLFLOW_EXPERIMENT_ID", None)  # of the store that the other tests use
        with (self.folder / "log").open("w+b") as log:
            process = subprocess.Popen(
                self._command,
                cwd=self.folder,
                env=variables,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
            begun = time.monotonic()
            while process.poll() is None:
                said = (self.folder / "log").read_text(errors="replace")
                late = kill_after_s is not None and time.monotonic() - begun > kill_after_s
                if late or (kill_at and kill_at in said):
                    with contextlib.suppress(ProcessLookupError):
                        os.killpg(process.pid, signal.SIGKILL)
                    process.wait()
                    return None
                time.sleep(0.01)
            return process.returncode

    def log(self) -> str:
        return (self.folder / "log").read_text(errors="replace")[-3000:]

    def check(self) -> None:
        """The registry as one release leaves it, and no run that is under way for ever."""
        before = mlflow.get_tracking_uri()
        mlflow.set_tracking_uri(self.uri)
        try:
            client = MlflowClient()
            assert [int(each.version) for each in registry.versions_of(NAME)] == [1]
            model = client.get_registered_model(NAME)
            assert model.aliases == {"champion": "1"} or model.aliases == {"champion": 1}
            assert not [tag for tag in model.tags if tag.startswith("onnx.lock")]
            assert [each.moved_to for each in registry.history(NAME)] == ["1"]
            assert registry.verify(f"models:/{NAME}/1").chosen
            running_still = client.search_runs(
                [each.experiment_id for each in client.search_experiments()],
                "attributes.status = 'RUNNING'",
            )
            assert not [each.info.run_id for each in running_still]
        finally:
            mlflow.set_tracking_uri(before)


@pytest.fixture
def sqlite(tmp_path, classifier_folder, frame, new_store) -> Releases:
    frame.to_parquet(tmp_path / "eval.parquet")
    return Releases(classifier_folder, tmp_path / "eval.parquet", tmp_path, new_store(tmp_path))


@pytest.fixture
def no_store_yet(tmp_path, sqlite) -> Releases:
    """The first release makes the database itself, and may be killed while it does."""
    (tmp_path / "mlflow.db").unlink()
    return sqlite


# What a release says when it begins with a step, in their order.
STEPS = (
    "logging the source",
    "converting the",
    "building the other",
    "checking that the answers",
    "measuring latency",
    "registering",
    "moving alias",
    "writing the report",
)


def test_a_release_that_is_killed_three_times_ends_as_one_that_is_not(sqlite):
    for step in ("checking that the answers", "measuring latency", "moving alias"):
        assert sqlite.run(kill_at=step) is None, sqlite.log()
    assert sqlite.run() == 0, sqlite.log()
    sqlite.check()


@pytest.mark.slow
@pytest.mark.parametrize("step", STEPS)
def test_a_release_that_is_killed_when_a_step_begins(sqlite, step):
    assert sqlite.run(kill_at=step) is None, sqlite.log()
    assert sqlite.run() == 0, sqlite.log()
    sqlite.check()


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("seed", range(4))
def test_a_release_that_is_killed_at_random(no_store_yet, seed):
    """Over and over, later each time it survives, until a dozen kills are done."""
    killed_at_random(no_store_yet, seed, kills=12)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_release_to_a_server_that_is_killed_at_random(
    tmp_path, classifier_folder, frame, new_store
):
    frame.to_parquet(tmp_path / "eval.parquet")
    with tracking_server(tmp_path, new_store(tmp_path)) as url:
        releases = Releases(classifier_folder, tmp_path / "eval.parquet", tmp_path, url)
        killed_at_random(releases, 9, kills=12)


def killed_at_random(releases: Releases, seed: int, kills: int) -> None:
    generator = random.Random(seed)
    killed = 0
    for _ in range(4 * kills):
        status = releases.run(kill_after_s=generator.uniform(2.0, 16.0))
        assert status in (None, 0), releases.log()
        killed += status is None
        if killed == kills:
            break
    assert releases.run() == 0, releases.log()
    releases.check()
