"""Custom operators: from a library that the configuration names, and from no other."""

from __future__ import annotations

import subprocess

import mlflow
import numpy as np
import pytest
import yaml
from onnx import TensorProto, helper

from mlflow_onnx_flavor import convert, flavor, scoring
from mlflow_onnx_flavor.errors import CorruptModelError
from tests.onnx_graphs import doubling, tensor

TEXTS = np.array(["abc", "Bern"], object)
EXTENSIONS = {"custom_operator_libraries": ["onnxruntime_extensions"]}


@pytest.fixture
def upper(tmp_path):
    """The text of ``x`` in capitals, by an operator of onnxruntime-extensions."""
    import onnx

    graph = helper.make_graph(
        [helper.make_node("StringUpper", ["x"], ["y"], domain="ai.onnx.contrib")],
        "graph",
        [tensor("x", ["rows"], TensorProto.STRING)],
        [tensor("y", ["rows"], TensorProto.STRING)],
    )
    opsets = [helper.make_opsetid("", 18), helper.make_opsetid("ai.onnx.contrib", 1)]
    onnx.save_model(
        helper.make_model(graph, opset_imports=opsets, ir_version=10), str(tmp_path / "m.onnx")
    )
    return tmp_path / "m.onnx"


def test_operators_of_the_library_that_the_configuration_names(upper, tmp_path):
    pytest.importorskip("onnxruntime_extensions", reason="onnxruntime-extensions is not installed")
    path = tmp_path / "model"
    flavor.save_model(str(upper), str(path), session_options=EXTENSIONS)
    answer = mlflow.pyfunc.load_model(str(path)).predict(TEXTS)
    assert list(answer["y"]) == ["ABC", "BERN"]
    assert "onnxruntime-extensions==" in (path / "requirements.txt").read_text()


def test_no_library_is_loaded_because_a_graph_wants_it(upper):
    with pytest.raises(Exception, match="ai.onnx.contrib"):
        scoring.load_session(str(upper))


@pytest.mark.parametrize("name", ["some/where.so", "/not/there.so", "os"])
def test_what_is_no_library_is_one_sentence(tmp_path, name):
    file = doubling(tmp_path / "m.onnx")
    options = {"custom_operator_libraries": [name]}
    with pytest.raises(ValueError, match="absolute paths of files, not"):
        scoring.load_session(str(file), {"session_options": options})


def test_a_library_is_named_by_its_path_when_a_model_is_loaded_alone(tmp_path):
    (tmp_path / "empty.c").write_text("int nothing;")
    library = tmp_path / "empty.so"
    try:
        command = ["cc", "-shared", "-o", str(library), str(tmp_path / "empty.c")]
        subprocess.run(command, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("there is no C compiler here")
    options = {"custom_operator_libraries": [str(library)]}
    with pytest.raises(Exception, match="RegisterCustomOps"):  # it was opened, and has no operators
        scoring.load_session(str(doubling(tmp_path / "m.onnx")), {"session_options": options})


@pytest.mark.process
def test_an_artifact_that_names_a_library_by_its_path_is_refused(tmp_path):
    rows = np.ones((2, 2), np.float32)
    path = tmp_path / "model"
    flavor.save_model(str(doubling(tmp_path / "m.onnx")), str(path), input_example=rows)
    written = yaml.safe_load((path / "MLmodel").read_text())
    entry = written["flavors"]["mlflow_onnx_flavor"]
    entry["session_options"] = {"custom_operator_libraries": ["/tmp/evil.so"]}
    (path / "MLmodel").write_text(yaml.safe_dump(written))
    with pytest.raises(CorruptModelError, match="names the library '/tmp/evil.so'"):
        convert(str(path), rows)
