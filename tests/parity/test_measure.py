"""Parity of real models in real processes: what passes, what differs, and what fails."""

from __future__ import annotations

import shutil

import numpy as np
import onnx
import pytest

from mlflow_onnx_flavor import flavor, parity, scoring
from mlflow_onnx_flavor.candidates.folder import CandidateFolder
from mlflow_onnx_flavor.evidence import ExecutionProvider, ModelIdentity, OutputParity
from mlflow_onnx_flavor.inputs import Inputs
from mlflow_onnx_flavor.parity.known_causes import cause_and_remedy
from mlflow_onnx_flavor.parity.measure import MAX_SINGLE_ROWS

CPU = ExecutionProvider(name="CPUExecutionProvider")
OPENVINO = "OpenVINOExecutionProvider"
F32 = '{"CPU": {"INFERENCE_PRECISION_HINT": "f32"}}'


def identity(name):
    return ModelIdentity(name=name, uri=f"models:/m-{name}", digest="sha256:0")


def candidate(name, folder):
    return CandidateFolder(identity(name), folder)


@pytest.fixture(scope="module")
def wrong_folder(candidate_folder, tmp_path_factory):
    """The candidate with one weight of its model moved by a tenth."""
    folder = tmp_path_factory.mktemp("wrong") / "model"
    shutil.copytree(candidate_folder, folder)
    model = onnx.load(str(folder / "model.onnx"))
    linear = next(each for each in model.graph.node if each.op_type == "LinearClassifier")
    next(each for each in linear.attribute if each.name == "coefficients").floats[0] += 0.1
    onnx.save_model(model, str(folder / "model.onnx"))
    return folder


@pytest.fixture(scope="module")
def corrupt_folder(candidate_folder, tmp_path_factory):
    folder = tmp_path_factory.mktemp("corrupt") / "model"
    shutil.copytree(candidate_folder, folder)
    (folder / "model.onnx").write_bytes(b"not an ONNX file")
    return folder


@pytest.fixture(scope="module")
def report(classifier_folder, candidate_folder, wrong_folder, corrupt_folder, frame):
    big = Inputs(frame.iloc[np.arange(300) % len(frame)])
    return parity.measure(
        classifier_folder,
        "sklearn",
        [
            candidate("right", candidate_folder),
            candidate("corrupt", corrupt_folder),
            candidate("wrong", wrong_folder),
            candidate("bare", candidate_folder / "model.onnx"),
        ],
        big,
        Inputs(frame[:5], "input example"),
        [CPU, ExecutionProvider(name="CUDAExecutionProvider")],
        batch_sizes=(1, 32),
        source_identity=identity("source"),
    )


def rows_of(report, name, provider=CPU.name):
    return [
        row
        for row in report.rows
        if row.candidate == name and row.execution_provider.name == provider
    ]


def test_a_faithful_candidate_agrees_on_every_output_and_in_form(report):
    rows = rows_of(report, "right")
    assert [(row.inputs, row.batch_size, row.rows) for row in rows] == [
        ("evaluation data", 1, MAX_SINGLE_ROWS),
        ("evaluation data", 32, 300),
        ("input example", 1, 5),
        ("input example", 32, 5),
    ]
    for row in rows:
        assert row.status == "measured" and row.form_differences == ()
        assert row.placement[CPU.name] > 0
        assert {"label", "probabilities"} <= {output.name for output in row.outputs}
        assert all(output.disagreements(output.auto_tolerance) == 0 for output in row.outputs)
    assert "pyfunc" in {output.name for output in rows[1].outputs}


def test_a_wrong_candidate_shows(report):
    probabilities = next(
        output for output in rows_of(report, "wrong")[1].outputs if output.name == "probabilities"
    )
    assert probabilities.disagreements(probabilities.auto_tolerance) > 100


def test_a_candidate_that_cannot_be_opened_is_a_row_and_the_next_goes_on(report):
    assert {row.status for row in rows_of(report, "corrupt")} == {"failed"}
    assert all(row.cause for row in rows_of(report, "corrupt"))
    assert {row.status for row in rows_of(report, "wrong")} == {"measured"}


def test_a_provider_that_is_not_here_is_a_row(report):
    rows = rows_of(report, "right", "CUDAExecutionProvider")
    assert {row.status for row in rows} == {"failed"}
    assert rows[0].cause.startswith("execution provider 'CUDAExecutionProvider' is not available")


def test_a_bare_file_is_compared_by_its_outputs(report):
    rows = rows_of(report, "bare")
    assert {row.status for row in rows} <= {"measured", "failed"}


def test_evidence_names_versions_and_inputs(report, frame):
    assert report.environment.versions["scikit-learn"]
    assert report.inputs_digest == Inputs(frame.iloc[np.arange(300) % len(frame)]).digest()
    assert 0 < report.measuring_seconds < report.seconds


def openvino_has_a_device() -> bool:
    if OPENVINO not in scoring.available_providers():
        return False
    import onnxruntime as ort

    from mlflow_onnx_flavor.scoring.providers import register

    register(OPENVINO)
    return any(each.ep_name == OPENVINO for each in ort.get_ep_devices())


@pytest.mark.skipif(
    not openvino_has_a_device(), reason="OpenVINO supports no device of this machine"
)
def test_openvino_runs_and_its_precision_is_explained(classifier_folder, candidate_folder, frame):
    exact = ExecutionProvider(name=OPENVINO, options={"load_config": F32})
    report = parity.measure(
        classifier_folder,
        "sklearn",
        [candidate("right", candidate_folder)],
        Inputs(frame),
        None,
        [ExecutionProvider(name=OPENVINO), exact],
        source_identity=identity("source"),
    )
    for row in report.rows:
        assert row.status in ("measured", "fell back")
        if row.execution_provider == exact and row.status == "measured":
            assert all(each.disagreements(each.auto_tolerance) == 0 for each in row.outputs)


def test_reduced_precision_of_openvino_comes_with_the_option_that_cures_it():
    beyond = OutputParity(
        name="y",
        kind="scores",
        rows=1,
        source_dtype="float32",
        candidate_dtype="float32",
        source_shape=(1,),
        candidate_shape=(1,),
        max_absolute_error=1e-3,
        auto_tolerance=1e-4,
        rows_above=(1,) * 141,
    )
    cause, remedy = cause_and_remedy(ExecutionProvider(name=OPENVINO), (beyond,))
    assert "bf16" in cause and F32 in remedy
    hinted = ExecutionProvider(name=OPENVINO, options={"load_config": F32})
    assert cause_and_remedy(hinted, (beyond,)) == ("", "")
    assert cause_and_remedy(CPU, (beyond,)) == ("", "")


def test_another_form_of_answer_is_named(classifier_folder, classifier_onnx, frame, tmp_path):
    spec = classifier_onnx.graph
    part = spec.prediction.parts[0].model_copy(update={"dtype": "object"})
    changed = spec.model_copy(
        update={"prediction": spec.prediction.model_copy(update={"parts": (part,)})}
    )
    flavor.save_model(classifier_onnx.path, tmp_path / "other", graph=changed)
    report = parity.measure(
        classifier_folder,
        "sklearn",
        [candidate("other", tmp_path / "other")],
        Inputs(frame),
        None,
        [CPU],
        source_identity=identity("source"),
    )
    (difference,) = report.rows[-1].form_differences
    assert (difference.what, difference.candidate) == ("dtype", "object")
