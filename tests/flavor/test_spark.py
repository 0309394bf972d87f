"""Batch scoring with `mlflow.pyfunc.spark_udf` on a local Spark, in an environment of its own that
has what the artifact asks for and nothing of this project.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import mlflow
import numpy as np
import pandas as pd
import pytest

from mlflow_onnx_flavor import flavor
from tests.builders import matrix_spec
from tests.onnx_graphs import doubling
from tests.serving import BIN, environment

pytestmark = [
    pytest.mark.process,
    pytest.mark.slow,
    pytest.mark.timeout(900),
    pytest.mark.skipif(shutil.which("java") is None, reason="Spark needs Java"),
]
PROGRAM = Path(__file__).with_name("spark_scoring.py")


@pytest.fixture(scope="module")
def python(tmp_path_factory) -> Path:
    """The interpreter of an environment with Spark."""
    folder = tmp_path_factory.mktemp("spark") / "environment"
    uv, python = str(BIN / "uv"), folder / "bin" / "python"
    runtime = flavor.get_default_pip_requirements()
    for command in (
        [uv, "venv", "--python", sys.executable, str(folder)],
        [uv, "pip", "install", "--python", str(python), "pyspark>=3.5", *runtime],
    ):
        subprocess.run(command, check=True, capture_output=True, timeout=600)
    return python


@pytest.fixture
def scored(python, tmp_path):
    """``scored(model, rows, result_type)``: the answers, in the order of the rows."""

    def score(model: Path, rows: pd.DataFrame, result_type: str) -> list:
        given, found = tmp_path / "rows.parquet", tmp_path / "scored.parquet"
        rows.assign(row=range(len(rows))).to_parquet(given)
        done = subprocess.run(
            [str(python), str(PROGRAM), str(given), str(model), result_type, str(found)],
            cwd=tmp_path,
            env=environment(),
            capture_output=True,
            text=True,
            timeout=300,
        )
        assert done.returncode == 0, done.stderr[-3000:]
        return pd.read_parquet(found).sort_values("row")["scored"].to_list()

    return score


def test_columns_become_labels(scored, candidate_folder, frame):
    expected = mlflow.pyfunc.load_model(str(candidate_folder)).predict(frame)
    assert scored(candidate_folder, frame, "string") == list(expected)


def test_an_array_for_each_row(scored, tmp_path, frame):
    both = frame[["a", "b"]]
    flavor.save_model(
        doubling(tmp_path / "m.onnx"),
        tmp_path / "model",
        graph=matrix_spec("a", "b"),
        signature=mlflow.models.infer_signature(both, both.to_numpy(np.float32)),
    )
    found = np.stack(scored(tmp_path / "model", both, "array<float>"))
    np.testing.assert_allclose(found, 2 * both.to_numpy(np.float32), rtol=1e-6)
