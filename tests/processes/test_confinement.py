"""What a source model's pickle can learn of its parent: none of its credentials."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from mlflow_onnx_flavor import errors
from mlflow_onnx_flavor.processes import confinement
from mlflow_onnx_flavor.processes.worker import Worker, child_environment

pytestmark = pytest.mark.process

ROOT = Path(__file__).parents[2]
SECRET = "hunter2-is-secret"
linux = pytest.mark.skipif(not confinement.LINUX, reason="/proc and Landlock are Linux's")

# What a pickle runs while it is loaded: everything that any process of the machine lets it read.
SPY = """
import glob, json, os
seen = {"own": json.dumps(dict(os.environ))}
for process in glob.glob("/proc/[0-9]*"):
    for name in ("environ", "mem"):
        try:
            with open(f"{process}/{name}", "rb") as file:
                seen[f"{process}/{name}"] = file.read(1 << 16).decode(errors="replace")
        except OSError as error:
            seen[f"{process}/{name}"] = ""
open(%r, "w").write(json.dumps(seen))
"""


class Hostile:
    """A pickle that runs ``code`` when it is loaded."""

    def __init__(self, code: str):
        self.code = code

    def __reduce__(self):
        return exec, (self.code,)


@linux
@pytest.mark.parametrize("preload", [(), ("mlflow_onnx_flavor.gates",)], ids=["started", "forked"])
def test_a_pickle_reads_no_credentials_of_its_parent(preload, tmp_path):
    """Neither its own variables, nor those of the release, nor those of the shell before it."""
    import cloudpickle

    (tmp_path / "model.pkl").write_bytes(cloudpickle.dumps(Hostile(SPY % str(tmp_path / "seen"))))
    (tmp_path / "MLmodel").write_text(
        "flavors:\n  sklearn:\n    pickled_model: model.pkl\n"
        "    serialization_format: cloudpickle\n    sklearn_version: 1.0.0\n    code: null\n"
    )
    release = f"""
from mlflow_onnx_flavor.processes.worker import Worker
with Worker(preload={preload!r}) as worker:
    try:
        worker.call("mlflow_onnx_flavor.source.tasks:load",
                    {{"model_path": {str(tmp_path)!r}, "framework": "sklearn"}})
    except Exception as error:
        print(error)
"""
    shell = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {release!r}])"
    variables = os.environ | {
        "PYTHONPATH": str(ROOT),
        "MLFLOW_TRACKING_PASSWORD": SECRET,
        "MLFLOW_REGISTRY_URI": f"http://ann:{SECRET}@localhost",
        "DATABASE_URL": SECRET,
    }
    done = subprocess.run(
        [sys.executable, "-c", shell], env=variables, capture_output=True, text=True, timeout=240
    )
    assert (tmp_path / "seen").exists(), done.stdout + done.stderr
    seen = json.loads((tmp_path / "seen").read_text())
    assert len(seen) > 4 and "PATH" in seen["own"]
    assert [name for name, text in seen.items() if SECRET in text] == []


@linux
def test_a_child_can_gain_no_privileges():
    with Worker() as worker:
        with pytest.raises(errors.WorkerTaskError):
            worker.call("mlflow_onnx_flavor.gates:nothing")
        status = dict(
            line.split(":\t")
            for line in Path(f"/proc/{worker.pid}/status").read_text().splitlines()
            if ":\t" in line
        )
    assert status["NoNewPrivs"] == "1"
    for name in ("CapEff", "CapPrm", "CapBnd"):
        assert not int(status[name], 16) & (1 << 19 | 1 << 21), name


def test_a_child_gets_the_variables_of_a_list(monkeypatch):
    for name in ("MLFLOW_TRACKING_PASSWORD", "AWS_SECRET_ACCESS_KEY", "HF_TOKEN", "DATABASE_URL"):
        monkeypatch.setenv(name, "x")
    monkeypatch.setenv("MLFLOW_REGISTRY_URI", "http://u:p@h")
    monkeypatch.setenv("TF_API_KEY", "x")
    monkeypatch.setenv("MY_FEATURES", "x")
    monkeypatch.setenv("TOKENIZERS_PARALLELISM", "false")
    seen = child_environment({"EXTRA": "1"})
    assert seen["TOKENIZERS_PARALLELISM"] == "false" and seen["EXTRA"] == "1" and seen["PATH"]
    assert "x" not in seen.values() and "MLFLOW_REGISTRY_URI" not in seen
    monkeypatch.setenv(confinement.MORE_VARIABLES, "MY_FEATURES, OTHER")
    assert child_environment({})["MY_FEATURES"] == "x"
