"""The flavor: what is saved loads everywhere, and answers as the source did."""

from __future__ import annotations

import subprocess
import sys

import mlflow
import numpy as np
import onnx
import pandas as pd
import pytest
import yaml
from mlflow.models import Model, ModelSignature, infer_signature
from mlflow.types import DataType, ParamSchema, ParamSpec, Schema, TensorSpec

import mlflow_onnx_flavor
from mlflow_onnx_flavor import flavor
from mlflow_onnx_flavor.comparison import pyfunc_output
from mlflow_onnx_flavor.errors import ConfigurationError
from mlflow_onnx_flavor.scoring.parameters import DEFAULTS
from tests.onnx_graphs import adding_weights, doubling, side_by_side

CPU = "CPUExecutionProvider"
FLOATS = pd.DataFrame({"a": [1.0, 2.0], "b": [3.0, 4.0]})


@pytest.fixture(scope="module")
def expected(classifier_folder, frame):
    return mlflow.pyfunc.load_model(str(classifier_folder)).predict(frame)


def test_the_pyfunc_is_a_drop_in_for_the_source(candidate_folder, frame, expected):
    answer = mlflow.pyfunc.load_model(str(candidate_folder)).predict(frame)
    assert (
        pyfunc_output.compare_forms(
            pyfunc_output.describe(expected), pyfunc_output.describe(answer)
        )
        == []
    )
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
    np.testing.assert_array_equal(
        mlflow_onnx_flavor._load_pyfunc(str(candidate_folder)).predict(frame), expected
    )


def test_a_model_config_of_mlflow_reaches_the_session(candidate_folder):
    """MLflow ignores it, with a warning in the log, unless the artifact lists the keys."""
    options = {"session_options": {"intra_op_num_threads": 1}, "execution_providers": [CPU]}
    model = mlflow.pyfunc.load_model(str(candidate_folder), model_config=options)
    assert model._model_impl.session.get_session_options().intra_op_num_threads == 1


def test_a_provider_asked_for_in_a_model_config_is_never_replaced_in_silence(candidate_folder):
    config = {"execution_providers": [{"name": "CUDAExecutionProvider", "options": {}}]}
    with pytest.raises(RuntimeError, match="'CUDAExecutionProvider' is not available here"):
        mlflow.pyfunc.load_model(str(candidate_folder), model_config=config)
    allowed = config | {"fallback": "allow"}
    model = mlflow.pyfunc.load_model(str(candidate_folder), model_config=allowed)
    assert model._model_impl.session.get_providers() == [CPU]


def test_providers_and_options_are_those_that_it_was_logged_with(tmp_path):
    flavor.save_model(
        doubling(tmp_path / "m.onnx"),
        tmp_path / "saved",
        execution_providers=[(CPU, {"use_arena": "0"})],
        session_options={"intra_op_num_threads": 1},
    )
    entry = Model.load(str(tmp_path / "saved")).flavors["mlflow_onnx_flavor"]
    assert entry["execution_providers"] == [{"name": CPU, "options": {"use_arena": "0"}}]
    session = flavor.load_session(str(tmp_path / "saved")).session
    assert session.get_session_options().intra_op_num_threads == 1
    again = flavor.load_session(
        str(tmp_path / "saved"), [CPU], session_options={"intra_op_num_threads": 2}
    )
    assert again.session.get_session_options().intra_op_num_threads == 2


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


def test_requirements_of_the_user_are_kept(tmp_path):
    graph = doubling(tmp_path / "m.onnx")
    flavor.save_model(graph, tmp_path / "own", pip_requirements=["mlflow", "onnxruntime"])
    assert (tmp_path / "own/requirements.txt").read_text().split() == ["mlflow", "onnxruntime"]
    flavor.save_model(graph, tmp_path / "extra", extra_pip_requirements=["tzdata"])
    lines = (tmp_path / "extra/requirements.txt").read_text().split()
    assert lines == [*flavor.get_default_pip_requirements(), "tzdata"]


def test_the_environment_files_are_those_of_every_flavor(candidate_folder):
    assert {"MLmodel", "conda.yaml", "python_env.yaml", "requirements.txt", "model.onnx"} <= {
        each.name for each in candidate_folder.iterdir()
    }


def test_files_code_and_metadata_of_the_user_travel(tmp_path, saved):
    (tmp_path / "notes.txt").write_text("read me")
    (tmp_path / "own_code.py").write_text("ANSWER = 42\n")
    model = saved(
        doubling(tmp_path / "m.onnx"),
        extra_files=[str(tmp_path / "notes.txt")],
        code_paths=[str(tmp_path / "own_code.py")],
        metadata={"team": "fraud"},
    )
    assert model.metadata.metadata == {"team": "fraud"}
    assert (tmp_path / "saved/extra_files/notes.txt").read_text() == "read me"
    assert (tmp_path / "saved/code/own_code.py").exists()


def test_the_signature_of_the_source_holds_with_one_more_parameter(
    candidate_folder, classifier_folder
):
    source, candidate = (
        Model.load(str(each)).signature for each in (classifier_folder, candidate_folder)
    )
    assert candidate.inputs == source.inputs and candidate.outputs == source.outputs
    assert [each.name for each in candidate.params.params] == list(DEFAULTS)


def test_parameters_of_the_source_stay_in_the_signature(tmp_path, saved):
    own = ParamSchema([ParamSpec("temperature", DataType.double, 0.5)])
    signature = ModelSignature(Schema([TensorSpec(np.dtype("float32"), (-1, 2))]), params=own)
    model = saved(doubling(tmp_path / "m.onnx"), signature=signature)
    names = [each.name for each in model.metadata.signature.params.params]
    assert names == ["temperature", *DEFAULTS]
    answer = model.predict(np.ones((1, 2), np.float32), params={"temperature": 1.0})
    assert answer["y"].tolist() == [[2, 2]]
    assert [each.name for each in signature.params.params] == ["temperature"]


@pytest.mark.parametrize(
    ("signature", "data"),
    [
        (None, np.ones((3, 2), np.float32)),
        (ModelSignature(Schema([TensorSpec(np.dtype("float32"), (-1, 2))])), np.ones((3, 2), "f4")),
        (
            ModelSignature(Schema([TensorSpec(np.dtype("float32"), (-1, 2), "given")])),
            {"given": np.ones((3, 2), np.float32)},
        ),
        (infer_signature(FLOATS), pd.DataFrame({"b": [1.0] * 3, "a": [1.0] * 3, "extra": "x"})),
        (None, pd.DataFrame({"p": [1.0] * 3, "q": [1.0] * 3})),
    ],
    ids=["nothing", "tensor", "named tensor", "columns", "a frame without a signature"],
)
def test_without_a_graph_specification_the_signature_says_how_it_is_fed(
    tmp_path, saved, signature, data
):
    answer = saved(doubling(tmp_path / "m.onnx"), signature=signature).predict(data)
    assert list(answer) == ["y"]
    np.testing.assert_array_equal(answer["y"], np.full((3, 2), 2))


def test_several_inputs_are_the_columns_of_their_names(tmp_path, saved):
    model = saved(side_by_side(tmp_path / "m.onnx"), signature=infer_signature(FLOATS))
    assert model.predict(FLOATS[["b", "a"]])["y"].tolist() == [[1, 3], [2, 4]]


def test_several_inputs_of_one_column_need_no_signature(tmp_path, saved):
    model = saved(side_by_side(tmp_path / "m.onnx"))
    for data in (FLOATS[["b", "a"]], FLOATS.to_dict("records"), FLOATS.to_dict("list")):
        assert model.predict(data)["y"].tolist() == [[1, 3], [2, 4]]


def test_several_inputs_are_the_tensors_of_their_names(tmp_path, saved):
    specs = [TensorSpec(np.dtype("float32"), (-1, 1), name) for name in ("b", "a")]
    model = saved(side_by_side(tmp_path / "m.onnx"), signature=ModelSignature(inputs=Schema(specs)))
    tensors = {"b": np.array([[3]], np.float32), "a": np.array([[1]], np.float32)}
    assert model.predict(tensors)["y"].tolist() == [[1, 3]]


def test_an_input_example_gives_the_signature_of_both_sides(tmp_path, saved):
    model = saved(doubling(tmp_path / "m.onnx"), input_example=FLOATS)
    assert model.metadata.signature.inputs.input_names() == ["a", "b"]
    expected = Schema([TensorSpec(np.dtype("float32"), (-1, 2), "y")])
    assert model.metadata.signature.outputs == expected
    pd.testing.assert_frame_equal(model.input_example, FLOATS)
    assert model.predict(FLOATS[["b", "a"]])["y"].tolist() == [[2, 6], [4, 8]]


def test_a_signature_of_inputs_alone_gets_its_outputs_from_the_graph(tmp_path, saved):
    given = ModelSignature(Schema([TensorSpec(np.dtype("float32"), (-1, 2))]))
    model = saved(doubling(tmp_path / "m.onnx"), signature=given)
    expected = Schema([TensorSpec(np.dtype("float32"), (-1, 2), "y")])
    assert model.metadata.signature.outputs == expected and given.outputs is None


def test_logging_links_the_model_to_the_run(store, candidate_folder, classifier_onnx, frame):
    with mlflow.start_run() as run:
        logged = flavor.log_model(
            classifier_onnx.path,
            name="fraud",
            graph=classifier_onnx.graph,
            signature=Model.load(str(candidate_folder)).signature,
            input_example=frame.head(2),
            registered_model_name="flavor-test",
            tags={"team": "fraud"},
            params={"opset": 18},
        )
    assert logged.model_uri.startswith("models:/m-")
    outputs = mlflow.get_run(run.info.run_id).outputs.model_outputs
    assert [each.model_id for each in outputs] == [logged.model_id]
    entity = mlflow.get_logged_model(logged.model_id)
    assert entity.tags["team"] == "fraud" and entity.params == {"opset": "18"}
    for uri in (logged.model_uri, "models:/flavor-test/1"):
        assert len(mlflow.pyfunc.load_model(uri).predict(frame)) == len(frame)
        assert len(flavor.load_session(uri).predict(frame)) == len(frame)


def test_logging_starts_no_process_to_infer_requirements(store, tmp_path, monkeypatch):
    def refuse(*arguments, **options):
        raise AssertionError("requirements were inferred")

    monkeypatch.setattr(mlflow.models, "infer_pip_requirements", refuse)
    monkeypatch.setattr(subprocess, "Popen", refuse)
    with mlflow.start_run():
        assert flavor.log_model(doubling(tmp_path / "m.onnx"), name="doubling").model_id


def test_saving_leaves_the_callers_proto_alone(tmp_path):
    proto = onnx.load(str(adding_weights(tmp_path / "m.onnx")))
    before = proto.SerializeToString()
    flavor.save_model(proto, tmp_path / "one")
    flavor.save_model(proto, tmp_path / "two")
    assert proto.SerializeToString() == before
    assert flavor.load_model(str(tmp_path / "two")).graph.initializer[0].raw_data


def test_a_proto_above_the_limit_is_written_with_external_data(tmp_path, monkeypatch):
    """The limit itself is 1.5 GB; a small one shows the same."""
    from mlflow_onnx_flavor.artifact import writer

    monkeypatch.setattr(writer, "_EXTERNAL_DATA_BYTES", 1000)
    proto = onnx.load(str(adding_weights(tmp_path / "m.onnx")))
    before = proto.SerializeToString()
    flavor.save_model(proto, tmp_path / "saved")
    assert proto.SerializeToString() == before
    assert (tmp_path / "saved/model.onnx.data").stat().st_size == 4096 * 4
    answer = mlflow.pyfunc.load_model(str(tmp_path / "saved")).predict(np.zeros((1, 4096), "f4"))
    np.testing.assert_array_equal(answer["y"][0], np.arange(4096))


@pytest.mark.parametrize("provider", [7, {"options": {}}, (CPU,), None])
def test_a_wrong_execution_provider_is_named_and_nothing_is_left(tmp_path, provider):
    with pytest.raises(ConfigurationError, match="is a name, or a name with options, not"):
        flavor.save_model(
            doubling(tmp_path / "m.onnx"), tmp_path / "saved", execution_providers=[provider]
        )
    assert not (tmp_path / "saved").exists()


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"no_such": 1}, "SessionOptions has no 'no_such'"),
        ({"intra_op_num_threads": "2"}, "intra_op_num_threads cannot be '2'"),
        ({"config_entries": "x"}, "must be a dictionary, not 'x'"),
    ],
)
def test_a_session_option_that_no_session_would_take_is_not_saved(tmp_path, options, sentence):
    with pytest.raises(ConfigurationError, match=sentence):
        flavor.save_model(
            doubling(tmp_path / "m.onnx"), tmp_path / "saved", session_options=options
        )
    assert not (tmp_path / "saved").exists()


@pytest.mark.process
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
