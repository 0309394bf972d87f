"""MLServer with its MLflow runtime, in an environment of its own: it does not install beside the
versions that this project is tested with.
"""

from __future__ import annotations

import json
import subprocess
import sys
import urllib.request
from pathlib import Path

import mlflow
import pytest

from examples.shared_server.start import free_port
from mlflow_onnx_flavor import flavor
from tests.serving import BIN, environment, running, score

pytestmark = [pytest.mark.server, pytest.mark.slow]


@pytest.fixture(scope="module")
def mlserver(tmp_path_factory) -> Path:
    """The command, where nothing of this project is installed."""
    folder = tmp_path_factory.mktemp("mlserver") / "environment"
    uv, python = str(BIN / "uv"), str(folder / "bin" / "python")
    runtime = flavor.get_default_pip_requirements()
    for command in (
        [uv, "venv", "--python", sys.executable, str(folder)],
        [uv, "pip", "install", "--python", python, "mlserver-mlflow", "mlserver", *runtime],
    ):
        subprocess.run(command, check=True, capture_output=True, timeout=240)
    return folder / "bin" / "mlserver"


@pytest.fixture(scope="module")
def url(mlserver, candidate_folder, tmp_path_factory):
    folder = tmp_path_factory.mktemp("served")
    model = {
        "name": "fraud",
        "implementation": "mlserver_mlflow.MLflowRuntime",
        "parameters": {"uri": str(candidate_folder)},
    }
    port, *others = (free_port() for _ in range(3))
    settings = {
        "host": "127.0.0.1",
        "http_port": port,
        **dict(zip(("grpc_port", "metrics_port"), others, strict=True)),
        "parallel_workers": 0,
    }
    (folder / "model-settings.json").write_text(json.dumps(model))
    (folder / "settings.json").write_text(json.dumps(settings))
    base = f"http://127.0.0.1:{port}"
    command = [str(mlserver), "start", str(folder)]
    options = {"cwd": folder, "env": environment()}
    with running(command, f"{base}/v2/models/fraud/ready", folder / "log", 180, **options):
        yield base


def test_it_answers_the_v2_protocol(url, candidate_folder, frame):
    expected = mlflow.pyfunc.load_model(str(candidate_folder)).predict(frame)
    columns = [
        {"name": name, "datatype": "FP64", "shape": [len(frame), 1], "data": values.tolist()}
        for name, values in frame.items()
    ]
    payload = {"inputs": columns, "parameters": {"content_type": "pd"}}
    request = urllib.request.Request(
        f"{url}/v2/models/fraud/infer",
        json.dumps(payload).encode(),
        {"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=60) as answer:
        (output,) = json.load(answer)["outputs"]
    assert output["shape"] == [len(frame), 1] and output["data"] == list(expected)


def test_it_answers_mlflows_own_protocol(url, candidate_folder, frame):
    expected = mlflow.pyfunc.load_model(str(candidate_folder)).predict(frame)
    split = json.loads(frame.to_json(orient="split", index=False))
    assert score(url, {"dataframe_split": split})["predictions"] == list(expected)


def test_its_description_is_the_signature(url):
    with urllib.request.urlopen(f"{url}/v2/models/fraud", timeout=60) as answer:
        told = json.load(answer)
    assert [each["name"] for each in told["inputs"]] == ["a", "b", "c", "d"]
    assert len(told["outputs"]) == 1
