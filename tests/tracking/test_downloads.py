"""Downloads are gone when the process ends; what lies on this disk is used where it lies."""

from __future__ import annotations

import os
import subprocess
import sys

import mlflow
import pytest

pytestmark = pytest.mark.process

SCRIPT = """
import sys
from mlflow_onnx_flavor.tracking.downloads import download

path = download(sys.argv[1])
print(path.read_text())
"""


def test_nothing_is_left_in_the_temporary_folder(store, tmp_path):
    (tmp_path / "rows.txt").write_text("rows")
    with mlflow.start_run() as run:
        mlflow.log_artifact(str(tmp_path / "rows.txt"))
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    (temporary / "theirs").mkdir()
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, f"runs:/{run.info.run_id}/rows.txt"],
        env=os.environ | {"TMPDIR": str(temporary)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == "rows"
    assert [each.name for each in temporary.iterdir()] == ["theirs"]


def test_a_file_of_this_disk_is_not_removed(tmp_path):
    file = tmp_path / "rows.txt"
    file.write_text("rows")
    subprocess.run([sys.executable, "-c", SCRIPT, file.as_uri()], check=True, capture_output=True)
    assert file.read_text() == "rows"
