"""The flavor: what is saved loads everywhere, and answers as the source did."""

from __future__ import annotations

import json
import subprocess
import sys

import mlflow
import numpy as np
import onnx
import pandas as pd
import pytest
import yaml
from mlflow.models import Model, ModelSignature
from onnx import TensorProto, helper, numpy_helper

from mlflow_onnx_flavor import answers, flavor
from mlflow_onnx_flavor.errors import CorruptModelError
from tests.serving import score, served


@pytest.fixture(scope="module")
def expected(classifier_folder, frame):
    return mlflow.pyfunc.load_model(str(classifier_folder)).predict(frame)


def test_the_pyfunc_is_a_drop_in_for_the_source(candidate_folder, frame, expected):
    answer = mlflow.pyfunc.load_model(str(candidate_folder)).predict(frame)
    assert answers.compare_forms(answers.describe(expected), answers.describe(answer)) == []
    np.testing.assert_array_equal(answer, expected)


def test_columns_come_in_any_order_with_extra_ones(candidate_folder, frame, expected):
    shuffled = frame[list("dcba")].assign(extra=1)
    answer = mlflow.pyfunc.load_model(str(candidate_folder)).predict(shuffled)
    np.testing.assert_array_equal(answer, expected)


def test_other_outputs_come_through_mlflow_params(candidate_folder, frame):
    model = mlflow.pyfunc.load_model(str(candidate_folder))
    answer = model.predict(frame, params={"outputs": ["probabilities", "label"]})
    assert answer["probabilities"].shape == (len(frame), 3)
    np.testing.assert_allclose(answer["probabilities"].sum(axis=1), 1, rtol=1e-5)


def test_the_built_in_onnx_flavor_reads_the_artifact(candidate_folder, classifier_onnx):
    proto = mlflow.onnx.load_model(str(candidate_folder))
    assert [each.name for each in proto.graph.output] == list(classifier_onnx.output_names)


def test_load_model_gives_the_proto_and_load_session_scores(candidate_folder, frame, expected):
    assert isinstance(flavor.load_model(str(candidate_folder)), onnx.ModelProto)
    np.testing.assert_array_equal(
        flavor.load_session(str(candidate_folder)).predict(frame), expected
    )


def test_requirements_are_explicit_and_small(candidate_folder):
    lines = (candidate_folder / "requirements.txt").read_text().split()
    assert [line.partition("==")[0] for line in lines] == [
        "mlflow",
        "onnxruntime",
        "numpy",
        "pandas",
    ]
    environment = yaml.safe_load((candidate_folder / "conda.yaml").read_text())
    assert environment["dependencies"][-1]["pip"] == lines
    assert flavor.get_default_pip_requirements() == lines
    assert flavor.get_default_conda_env()["dependencies"][-1]["pip"][-4:] == lines


def test_the_signature_of_the_source_holds_with_one_more_parameter(
    candidate_folder, classifier_folder
):
    source, candidate = (
        Model.load(str(each)).signature for each in (classifier_folder, candidate_folder)
    )
    assert candidate.inputs == source.inputs and candidate.outputs == source.outputs
    assert [each.name for each in candidate.params.params] == ["outputs"]


def test_logging_links_the_model_to_the_run(store, candidate_folder, classifier_onnx, frame):
    with mlflow.start_run() as run:
        logged = flavor.log_model(
            classifier_onnx.path,
            name="fraud",
            graph=classifier_onnx.graph,
            signature=Model.load(str(candidate_folder)).signature,
            registered_model_name="flavor-test",
        )
    assert logged.model_uri.startswith("models:/m-")
    outputs = mlflow.get_run(run.info.run_id).outputs.model_outputs
    assert [each.model_id for each in outputs] == [logged.model_id]
    registered = mlflow.pyfunc.load_model("models:/flavor-test/1")
    assert len(registered.predict(frame)) == len(frame)


def with_external_data(folder):
    weights = np.arange(4096, dtype=np.float32).reshape(1, 4096)
    graph = helper.make_graph(
        [helper.make_node("Add", ["x", "w"], ["y"])],
        "external",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["rows", 4096])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["rows", 4096])],
        [numpy_helper.from_array(weights, "w")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    path = folder / "big.onnx"
    onnx.save_model(model, str(path), save_as_external_data=True, location="weights.bin")
    return path


def test_weights_beside_the_file_travel_with_it(tmp_path):
    flavor.save_model(with_external_data(tmp_path), tmp_path / "saved")
    model = mlflow.pyfunc.load_model(str(tmp_path / "saved"))
    answer = model.predict(np.zeros((2, 4096), np.float32))
    np.testing.assert_array_equal(answer["y"][1], np.arange(4096))


def test_weights_outside_the_folder_are_refused(tmp_path):
    inside = tmp_path / "inside"
    inside.mkdir()
    path = with_external_data(inside)
    proto = onnx.load(str(path), load_external_data=False)
    proto.graph.initializer[0].external_data[0].value = "../secret.bin"
    path.write_bytes(proto.SerializeToString())
    with pytest.raises(CorruptModelError, match="outside its own folder"):
        flavor.save_model(path, tmp_path / "saved")


def test_saving_leaves_the_callers_proto_alone(tmp_path):
    proto = onnx.load(str(with_external_data(tmp_path)))
    before = proto.SerializeToString()
    flavor.save_model(proto, tmp_path / "one")
    flavor.save_model(proto, tmp_path / "two")
    assert proto.SerializeToString() == before
    assert flavor.load_model(str(tmp_path / "two")).graph.initializer[0].raw_data


def test_an_array_without_names_serves_a_tensor_signature(tmp_path):
    from mlflow.types import Schema, TensorSpec

    signature = ModelSignature(Schema([TensorSpec(np.dtype("float32"), (-1, 4096))]))
    flavor.save_model(with_external_data(tmp_path), tmp_path / "saved", signature=signature)
    answer = mlflow.pyfunc.load_model(str(tmp_path / "saved")).predict(
        np.zeros((3, 4096), np.float32)
    )
    assert answer["y"].shape == (3, 4096)


def test_a_file_that_is_no_onnx_is_one_sentence(tmp_path):
    (tmp_path / "bad.onnx").write_bytes(b"this is not a model")
    with pytest.raises(CorruptModelError, match="is not a readable ONNX file"):
        flavor.save_model(tmp_path / "bad.onnx", tmp_path / "saved")


def test_importing_the_package_loads_no_framework():
    code = (
        "import sys, mlflow_onnx_flavor, mlflow_onnx_flavor.cli.parser as p;"
        "p.build_parser();"
        "heavy = {'torch', 'tensorflow', 'sklearn', 'xgboost', 'lightgbm', 'onnxruntime', 'onnx',"
        " 'mlflow', 'pandas', 'numpy'};"
        "print(sorted(heavy & set(sys.modules)))"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


def payload(frame: pd.DataFrame) -> dict:
    return {"dataframe_split": json.loads(frame.to_json(orient="split", index=False))}


def test_it_is_served_over_http(candidate_folder, frame, expected, tmp_path):
    with served(candidate_folder, "local", tmp_path / "log", tmp_path) as url:
        answer = score(url, payload(frame))
        several = score(url, payload(frame.head(2)) | {"params": {"outputs": ["probabilities"]}})
    assert answer["predictions"] == list(expected)
    assert np.shape(several["predictions"]["probabilities"]) == (2, 3)


def test_it_is_served_where_this_project_is_not_installed(
    candidate_folder, frame, expected, tmp_path
):
    environments = tmp_path / "environments"
    with served(
        candidate_folder,
        "uv",
        tmp_path / "log",
        tmp_path,
        MLFLOW_ENV_ROOT=str(environments),
        HOME=str(tmp_path / "home"),
        UV_CACHE_DIR=str(tmp_path.parent / "uv-cache"),
    ) as url:
        answer = score(url, payload(frame))
    assert answer["predictions"] == list(expected)
    installed = {each.name.lower() for each in environments.glob("**/site-packages/*")}
    assert any(name.startswith("onnxruntime-") for name in installed)
    assert not any("mlflow_onnx_flavor" in name for name in installed)
    assert not any(name.startswith(("torch", "tensorflow", "skl2onnx")) for name in installed)
