"""A model of another scikit-learn is converted and scored in the environment that it recorded."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import mlflow_onnx_flavor as onnx_flavor
from mlflow_onnx_flavor.errors import SourceEnvironmentError
from mlflow_onnx_flavor.explanation import explain
from mlflow_onnx_flavor.schemas.configuration import Configuration
from mlflow_onnx_flavor.source import environment
from mlflow_onnx_flavor.source.environment import differences, environment_note
from tests.builders import CPU

pytestmark = pytest.mark.process

OLD = "1.5.2"
REQUIREMENTS = f"scikit-learn=={OLD}\nnumpy==1.26.4\npandas==2.2.3\ncloudpickle\n"

TRAIN = """
import sys
import mlflow
import sklearn
from sklearn.datasets import load_wine
from sklearn.ensemble import RandomForestClassifier

assert sklearn.__version__ == sys.argv[3]
data = load_wine(as_frame=True)
model = RandomForestClassifier(20, random_state=0).fit(data.data, data.target)
mlflow.sklearn.save_model(
    model,
    sys.argv[1],
    input_example=data.data[:5],
    serialization_format="cloudpickle",
    pip_requirements=sys.argv[2],
)
data.data.to_parquet(sys.argv[1] + ".parquet")
"""


@pytest.fixture(scope="module")
def old_model(tmp_path_factory) -> Path:
    """A forest trained and saved under an older scikit-learn, in a process of its own."""
    folder = tmp_path_factory.mktemp("old")
    recorded = folder / "recorded"
    recorded.mkdir()
    (recorded / "requirements.txt").write_text(REQUIREMENTS)
    python = environment.python_of(recorded, "sklearn")
    subprocess.run(
        [python, "-c", TRAIN, folder / "model", recorded / "requirements.txt", OLD],
        check=True,
        capture_output=True,
    )
    return folder / "model"


def test_both_versions_are_said(old_model):
    found = differences(old_model)
    assert {each.distribution for each in found} >= {"scikit-learn", "numpy"}
    explanation = explain(str(old_model), configuration=Configuration(source_env="recorded"))
    assert explanation.versions["scikit-learn"] == OLD
    assert explanation.differences == ()
    note = environment_note(found, ["scikit-learn"])
    assert note.startswith(
        f"the source ran in another environment than its own: scikit-learn {OLD}"
    )


def test_it_is_converted_and_held_to_its_own_answers(old_model, tmp_path):
    rows = str(old_model) + ".parquet"
    conversion = onnx_flavor.convert(
        str(old_model),
        rows,
        output_dir=tmp_path,
        configuration=Configuration(source_env="recorded"),
    )
    assert conversion.source_env == "recorded"
    assert conversion.versions["scikit-learn"] == OLD
    settings = {"source_env": "recorded", "budget": {"seconds": 3}}
    configuration = Configuration.model_validate(settings)
    parity = onnx_flavor.check_parity(
        str(old_model), conversion.path, rows, [CPU], configuration=configuration
    )
    assert {row.status for row in parity.rows} == {"measured"}
    outputs = [output for row in parity.rows for output in row.outputs]
    assert all(output.disagreements(output.auto_tolerance) == 0 for output in outputs)
    latency = onnx_flavor.check_latency(
        str(old_model), conversion.path, rows, [CPU], configuration=configuration
    )
    assert {row.status for row in latency.rows} == {"measured"}


def test_requirements_that_cannot_be_installed_are_one_sentence(tmp_path, monkeypatch):
    monkeypatch.setenv("MLFLOW_ENV_ROOT", str(tmp_path / "envs"))
    (tmp_path / "requirements.txt").write_text("numpy==1.26.4\nnumpy==2.0.0\n")
    with pytest.raises(SourceEnvironmentError, match="cannot be built.*numpy") as raised:
        environment.python_of(tmp_path, "sklearn")
    assert "\n" not in str(raised.value)
    assert [each.suffix for each in (tmp_path / "envs").iterdir()] == [".lock"]  # nothing is left


def test_a_model_without_requirements_is_told_so(tmp_path):
    with pytest.raises(SourceEnvironmentError, match="records no requirements"):
        environment.python_of(tmp_path, "sklearn")


def test_pins_that_this_environment_keeps_are_no_difference(tmp_path):
    (tmp_path / "requirements.txt").write_text(
        f"numpy=={np.__version__}\npandas=={pd.__version__}  # as here\nmlflow\n"
        "-c constraints.txt\nno-such-thing==1.0\nnever==2; python_version < '3'\n"
    )
    assert json.loads(differences(tmp_path)[0].model_dump_json()) == {
        "distribution": "no-such-thing",
        "recorded": "1.0",
        "installed": None,
    }
    assert len(differences(tmp_path)) == 1
