"""Serving: real `mlflow models` processes, with this project at hand and where it is not."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import mlflow
import numpy as np
import pandas as pd
import pytest

from mlflow_onnx_flavor import flavor
from tests.serving import BIN, environment, score, served

pytestmark = pytest.mark.server


@pytest.fixture(scope="module")
def expected(classifier_folder, frame):
    return mlflow.pyfunc.load_model(str(classifier_folder)).predict(frame)


@pytest.fixture(scope="module")
def elsewhere(tmp_path_factory) -> dict[str, str]:
    """Variables that give `--env-manager uv` folders of its own, shared by this file's tests."""
    folder = tmp_path_factory.mktemp("elsewhere")
    return {
        "MLFLOW_ENV_ROOT": str(folder / "environments"),
        "HOME": str(folder / "home"),
        "UV_CACHE_DIR": str(folder / "uv-cache"),
    }


def payload(frame: pd.DataFrame) -> dict:
    return {"dataframe_split": json.loads(frame.to_json(orient="split", index=False))}


def assert_clean(variables: dict[str, str]) -> None:
    """No environment that was built holds this project, or a framework that trains or converts."""
    pythons = list(Path(variables["MLFLOW_ENV_ROOT"]).glob("**/bin/python"))
    assert pythons
    code = (
        "import importlib.util as u;"
        "names = ['mlflow_onnx_flavor', 'torch', 'tensorflow', 'xgboost', 'lightgbm', 'skl2onnx',"
        " 'onnx', 'onnxruntime'];"
        "print([name for name in names if u.find_spec(name)])"
    )
    for python in pythons:
        options = {"cwd": variables["MLFLOW_ENV_ROOT"], "env": environment(**variables)}
        found = subprocess.run(
            [python, "-c", code], capture_output=True, text=True, check=True, **options
        )
        assert found.stdout.strip() == "['onnxruntime']"


def test_it_is_served_over_http(candidate_folder, frame, expected, tmp_path):
    with served(candidate_folder, "local", tmp_path / "log", tmp_path) as url:
        answer = score(url, payload(frame))
        several = score(url, payload(frame.head(2)) | {"params": {"outputs": ["probabilities"]}})
    assert answer["predictions"] == list(expected)
    assert np.shape(several["predictions"]["probabilities"]) == (2, 3)


def test_it_is_served_where_this_project_is_not_installed(
    candidate_folder, frame, expected, tmp_path, elsewhere
):
    with served(candidate_folder, "uv", tmp_path / "log", tmp_path, **elsewhere) as url:
        answer = score(url, payload(frame))
        several = score(url, payload(frame.head(2)) | {"params": {"outputs": ["probabilities"]}})
    assert answer["predictions"] == list(expected)
    assert np.shape(several["predictions"]["probabilities"]) == (2, 3)
    assert_clean(elsewhere)


def test_it_predicts_with_mlflow_skinny_alone(
    classifier_onnx, candidate_folder, frame, expected, tmp_path, elsewhere
):
    _, *others = flavor.get_default_pip_requirements()
    flavor.save_model(
        classifier_onnx.path,
        tmp_path / "skinny",
        graph=classifier_onnx.graph,
        signature=mlflow.models.get_model_info(str(candidate_folder)).signature,
        pip_requirements=[f"mlflow-skinny=={mlflow.__version__}", *others],
    )
    (tmp_path / "input.json").write_text(json.dumps(payload(frame)))
    command = [
        *(str(BIN / "mlflow"), "models", "predict", "-m", str(tmp_path / "skinny")),
        *("-i", str(tmp_path / "input.json"), "-o", str(tmp_path / "output.json")),
        *("--env-manager", "uv"),
    ]
    subprocess.run(
        command,
        cwd=tmp_path,
        env=environment(**elsewhere),
        check=True,
        capture_output=True,
        timeout=240,
    )
    answer = json.loads((tmp_path / "output.json").read_text())
    assert answer["predictions"] == list(expected)
    assert_clean(elsewhere)


def test_a_dockerfile_is_made_for_it(candidate_folder, tmp_path):
    command = [
        *(str(BIN / "mlflow"), "models", "generate-dockerfile", "-m", str(candidate_folder)),
        *("-d", str(tmp_path / "image")),
    ]
    subprocess.run(
        command, cwd=tmp_path, env=environment(), check=True, capture_output=True, timeout=120
    )
    lines = (tmp_path / "image" / "Dockerfile").read_text()
    assert "FROM" in lines and "ENTRYPOINT" in lines
    assert any((tmp_path / "image").rglob("model.onnx"))
