"""Disks that are full or read-only: one sentence with the place, and nothing half registered."""

from __future__ import annotations

import errno
import shutil
import subprocess
import sys

import pytest
from mlflow import MlflowClient

from mlflow_onnx_flavor.machine.disk import storage_error
from tests.serving import environment

# What only a namespace of its own may do: mount, without being root.
ALONE = ["unshare", "--user", "--map-root-user", "--mount"]
FULL = 'mount -t tmpfs -o size={size} none {place} && exec "$@"'
READ_ONLY = 'mount --bind {place} {place} && mount -o remount,bind,ro {place} && exec "$@"'


@pytest.fixture
def at(tmp_path, classifier_folder, frame, new_store):
    """Runs a release where one folder is mounted in another way; returns the finished process."""
    probe = [*ALONE, "sh", "-c", FULL.format(size="64k", place=tmp_path), "sh", "true"]
    if not shutil.which("unshare") or subprocess.run(probe, capture_output=True).returncode:
        pytest.skip("this system lets no user mount in a namespace")
    for name in ("artifacts", "temporary"):
        (tmp_path / name).mkdir()
    frame.to_parquet(tmp_path / "eval.parquet")
    database = new_store(tmp_path)
    client = MlflowClient(database)
    experiment = client.create_experiment("e", artifact_location=str(tmp_path / "artifacts"))

    def run(mounted: str, how: str, size: str = "") -> str:
        variables = environment(
            MLFLOW_TRACKING_URI=database,
            MLFLOW_EXPERIMENT_ID=experiment,
            TMPDIR=str(tmp_path / "temporary"),
        )
        script = how.format(size=size, place=tmp_path / mounted)
        release = [
            *(sys.executable, "-m", "mlflow_onnx_flavor.cli", "release", str(classifier_folder)),
            *("--registered-model", "fraud", "--data", str(tmp_path / "eval.parquet"), "--quiet"),
        ]
        done = subprocess.run(
            [*ALONE, "sh", "-c", script, "sh", *release],
            cwd=tmp_path,
            env=variables,
            timeout=240,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 1, done.stdout + done.stderr
        assert client.search_registered_models() == []
        runs = client.search_runs([experiment])
        assert runs and {each.info.status for each in runs} <= {"FAILED", "FINISHED"}
        (sentence,) = [each for each in done.stderr.splitlines() if each.startswith("mlflow-onnx")]
        release_run = next(each for each in runs if each.data.tags["onnx.step"] == "release")
        assert release_run.data.tags["onnx.error"] in sentence
        return sentence

    return run


@pytest.mark.release
def test_a_full_artifact_store(at):
    assert "No space left on device" in at("artifacts", FULL, "40k")


@pytest.mark.release
def test_a_full_temporary_folder(at):
    sentence = at("temporary", FULL, "60k")
    assert "No space left on device" in sentence and "set TMPDIR" in sentence


@pytest.mark.release
def test_a_read_only_artifact_store(at):
    sentence = at("artifacts", READ_ONLY)
    assert "artifacts" in sentence and "(Read-only file system); let this user write" in sentence


def test_the_place_is_named_of_whatever_was_raised():
    denied = PermissionError(errno.EACCES, "Permission denied", "/models/a")
    assert "'/models/a' cannot be used (Permission denied)" in str(storage_error(denied))
    copied = shutil.Error([("a", "/store/b", "[Errno 28] No space left on device: 'a' -> 'b'")])
    assert "'/store/b' cannot be written (No space left" in str(storage_error(copied))
    try:
        try:
            raise denied
        except PermissionError as error:
            raise RuntimeError("while it worked") from error
    except RuntimeError as error:
        assert "'/models/a'" in str(storage_error(error))
    locked = RuntimeError("(sqlite3.OperationalError) attempt to write a readonly database")
    assert "let this user write to it" in str(storage_error(locked))
    assert storage_error(FileNotFoundError(errno.ENOENT, "no such file", "/x")) is None
    assert storage_error(shutil.Error("two folders that are the same")) is None
