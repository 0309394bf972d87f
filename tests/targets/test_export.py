"""Exports as users run them: proven in processes of their own, logged, and refused when wrong."""

from __future__ import annotations

import importlib.util
import json

import numpy as np
import pytest

import mlflow_onnx_flavor
from mlflow_onnx_flavor import targets
from mlflow_onnx_flavor.cli import main
from mlflow_onnx_flavor.errors import (
    ConfigurationError,
    GateFailedError,
    InvalidDataError,
    MissingFrameworkError,
    UnsupportedModelError,
)
from mlflow_onnx_flavor.pipeline.export import where_it_runs
from mlflow_onnx_flavor.targets.base import Target
from mlflow_onnx_flavor.targets.export import ModelToExport, Settings, export
from tests import onnx_graphs

pytestmark = pytest.mark.process

needs_openvino = pytest.mark.skipif(
    importlib.util.find_spec("openvino") is None, reason="the target openvino needs openvino"
)


@pytest.fixture
def doubling(tmp_path):
    return onnx_graphs.doubling(tmp_path / "double.onnx")


@pytest.fixture(scope="module")
def rows():
    return {"x": np.random.default_rng(0).normal(size=(40, 2)).astype(np.float32)}


def left_in(folder):
    return [each.name for each in folder.iterdir() if each.suffix != ".onnx"]


def test_a_classifier_with_labels_of_text_runs_in_pytorch_and_is_registered(
    store, candidate_folder, frame, tmp_path
):
    import mlflow

    exported = mlflow_onnx_flavor.export(
        str(candidate_folder),
        "pytorch",
        tmp_path / "out",
        data=frame,
        registered_model="in-torch",
    )
    report = exported.report
    assert report.outcome == "right" and all(each.passed for each in report.findings)
    assert {each.batch_size for each in report.parity} == {1, 32}
    assert {each.inputs for each in report.parity} >= {"evaluation data", "probes"}
    assert report.labels == {"label": ("high", "low", "mid")}
    assert all(each.target_seconds > 0 for each in report.speed)
    stored = json.loads((tmp_path / "out" / "export.json").read_text())
    assert stored["outcome"] == "right" and stored["model_digest"] == report.model_digest
    assert exported.version == "1"
    program = mlflow.pytorch.load_model("models:/in-torch/1")
    assert "label" in report.labels and program is not None


@needs_openvino
def test_a_graph_runs_in_openvino_and_its_pyfunc_serves_it(store, doubling, rows, tmp_path):
    import mlflow

    exported = mlflow_onnx_flavor.export(
        doubling, "openvino", tmp_path / "out", data=rows, log=True
    )
    assert exported.report.outcome == "right" and exported.version is None
    served = mlflow.pyfunc.load_model(exported.model_uri)
    np.testing.assert_allclose(served.predict(rows["x"]), 2 * rows["x"], rtol=1e-6)


def test_the_command_exports_and_imports(store, doubling, tmp_path, capsys):
    out, back = tmp_path / "out", tmp_path / "back.onnx"
    assert main(["export", str(doubling), "--to", "json", "--output", str(out), "--quiet"]) == 0
    assert "written" in capsys.readouterr().out
    assert main(["import", str(out / "model.json"), "--output", str(back), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"path": str(back)}
    assert back.read_bytes() == doubling.read_bytes()


def test_the_command_lists_every_target_with_what_it_needs(capsys):
    assert main(["targets", "--json"]) == 0
    listed = {each["name"]: each for each in json.loads(capsys.readouterr().out)}
    assert listed.keys() >= {"json", "openvino", "pytorch", "text", "textproto"}
    assert listed["pytorch"]["needs"] == ["torch"] and listed["json"]["installed"]


def test_one_table_says_where_a_model_runs(doubling, rows, monkeypatch):
    monkeypatch.setattr(targets, "names", lambda: ("json", "pytorch"))
    reports = where_it_runs(doubling, data=rows)
    assert [(each.target, each.outcome) for each in reports] == [
        ("json", "right"),
        ("pytorch", "right"),
    ]


def test_what_answers_otherwise_is_refused_and_nothing_is_left(doubling, rows, tmp_path):
    """The exported file is another model than the one that it is held against."""
    from mlflow_onnx_flavor.inputs import Inputs
    from mlflow_onnx_flavor.targets import export as exporting

    model = ModelToExport(doubling, "double", (Inputs(rows),))
    wrong = onnx_graphs.adding_weights(tmp_path / "wrong.onnx", columns=2)
    original = exporting.copy_model
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(exporting, "copy_model", lambda _source, target: original(wrong, target))
        with pytest.raises(GateFailedError, match="differs in the target 'json'.* differ in y"):
            export(model, "json", tmp_path / "out", Settings())
    assert left_in(tmp_path) == []


def test_bad_input_is_a_sentence_and_nothing_is_left(doubling, rows, tmp_path):
    out = tmp_path / "out"
    with pytest.raises(
        ConfigurationError, match="unknown target 'pytroch'; did you mean 'pytorch'"
    ):
        mlflow_onnx_flavor.export(doubling, "pytroch", out, data=rows)
    with pytest.raises(InvalidDataError, match="nothing to prove the target 'pytorch' on"):
        mlflow_onnx_flavor.export(doubling, "pytorch", out)
    with pytest.raises(UnsupportedModelError, match="no open axis 'bach' to fix; it has rows"):
        mlflow_onnx_flavor.export(doubling, "json", out, data=rows, fix={"bach": 1})
    text = onnx_graphs.repeated_text(tmp_path / "text.onnx")
    words = {"t": np.array([["a"], ["b"]], object)}
    with pytest.raises(UnsupportedModelError, match="the input 't' is text"):
        mlflow_onnx_flavor.export(text, "pytorch", out, data=words)
    with pytest.raises(
        ConfigurationError, match="'pytorch' has no precision 'float16'; it has float32"
    ):
        mlflow_onnx_flavor.export(doubling, "pytorch", out, data=rows, precision="float16")
    assert left_in(tmp_path) == []
    out.mkdir()
    (out / "mine.txt").write_text("mine")
    with pytest.raises(ConfigurationError, match="is not empty"):
        mlflow_onnx_flavor.export(doubling, "json", out, data=rows)
    assert (out / "mine.txt").read_text() == "mine"


def test_a_target_that_is_not_installed_says_what_to_install(doubling, tmp_path, monkeypatch):
    class Missing(Target):
        modules, extra = ("no_such_library",), "torch"

        def write(self, request, folder):
            raise AssertionError("it is not installed")

        def load(self, folder):
            raise AssertionError("it is not installed")

    monkeypatch.setattr(targets, "get", lambda _name: Missing())
    with pytest.raises(
        MissingFrameworkError, match=r"no_such_library.*mlflow-onnx-flavor\[torch\]"
    ):
        export(ModelToExport(doubling, "double"), "missing", tmp_path / "out", Settings())
