"""Temporary files of a process that was killed are gone after the next start."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from mlflow.exceptions import MlflowException

from mlflow_onnx_flavor.cli import main
from mlflow_onnx_flavor.machine import scratch
from mlflow_onnx_flavor.tracking.downloads import download

pytestmark = pytest.mark.process

ROOT = Path(__file__).parents[2]
HOLDING = """
import time
from mlflow_onnx_flavor.machine.scratch import new_folder
(new_folder("worker") / "weights").write_text("weights")
print("there", flush=True)
time.sleep(60)
"""


@pytest.fixture
def temporary(tmp_path, monkeypatch):
    """A folder for temporary files that this process and those that it starts use."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)
    monkeypatch.setattr(scratch, "_mine", {})
    return tmp_path


@pytest.fixture
def holder(temporary):
    """A process that has written temporary files and lives."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDING],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
    )
    assert process.stdout.readline() == b"there\n"
    yield process
    process.kill()
    process.wait()
    process.stdout.close()


def test_the_next_start_removes_what_a_killed_process_left(temporary, holder, capsys):
    (temporary / "mlflow-onnx-of-nobody").mkdir()
    (left,) = (each for each in temporary.glob("mlflow-onnx-of-*_*"))
    assert [each.name for each in left.rglob("weights")] == ["weights"]
    assert main(["providers"]) == 0
    assert left.exists()  # its process lives
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    scratch._mine.clear()
    assert main(["providers", "--json"]) == 0
    assert not left.exists() and (temporary / "mlflow-onnx-of-nobody").exists()


def test_a_process_that_ends_leaves_nothing(temporary):
    ending = HOLDING.replace("time.sleep(60)", "")
    variables = os.environ | {"PYTHONPATH": str(ROOT)}
    subprocess.run([sys.executable, "-c", ending], env=variables, check=True)
    assert list(temporary.iterdir()) == []


def test_a_download_that_fails_leaves_nothing(temporary, monkeypatch):
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with pytest.raises((MlflowException, OSError)):
        download("http://127.0.0.1:9/api/2.0/mlflow-artifacts/artifacts/model")
    assert list(scratch.scratch_root().iterdir()) == []
