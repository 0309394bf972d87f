"""Parity of real models in real processes: what passes, what differs, and what fails."""

from __future__ import annotations

import shutil

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from mlflow_onnx_flavor import flavor, parity
from mlflow_onnx_flavor.errors import InvalidDataError
from mlflow_onnx_flavor.inputs import Inputs
from mlflow_onnx_flavor.parity.candidate_process import MAX_SINGLE_ROWS
from mlflow_onnx_flavor.schemas.evidence import ExecutionProvider
from mlflow_onnx_flavor.source.process import SourceModelWorker
from tests.builders import CPU, candidate, identity
from tests.child_processes import workers
from tests.onnx_graphs import save, tensor

pytestmark = pytest.mark.process


def measured(source, candidates, evaluation, **how):
    return parity.measure(
        parity.Plan(
            source,
            "sklearn",
            candidates,
            evaluation,
            None,
            [CPU],
            source_identity=identity("s"),
            **how,
        )
    )


def with_column(folder, target, name):
    """A copy of a model whose signature asks for one more column, which the data lacks."""
    from mlflow.models import Model, ModelSignature
    from mlflow.types import ColSpec, Schema

    shutil.copytree(folder, target)
    model = Model.load(str(target))
    asked = [*model.signature.inputs.inputs, ColSpec("double", name)]
    model.signature = ModelSignature(Schema(asked), model.signature.outputs)
    model.save(str(target / "MLmodel"))
    return target


def linear_source(frame, folder):
    import mlflow
    from sklearn.linear_model import LinearRegression

    model = LinearRegression().fit(frame, frame["a"] * 2 + frame["b"] ** 2)
    mlflow.sklearn.save_model(
        model,
        str(folder),
        signature=mlflow.models.infer_signature(frame, model.predict(frame)),
        serialization_format="cloudpickle",
        pip_requirements=["scikit-learn"],
    )
    return folder, model


def linear_graph(path, weights, bias):
    """Prediction = x @ weights + bias in float64, shape (rows,)."""
    return save(
        [
            helper.make_node("MatMul", ["x", "w"], ["m"]),
            helper.make_node("Add", ["m", "b"], ["s"]),
            helper.make_node("Squeeze", ["s", "axes"], ["prediction"]),
        ],
        [tensor("x", ["rows", len(weights)], TensorProto.DOUBLE)],
        [tensor("prediction", ["rows"], TensorProto.DOUBLE)],
        path,
        [
            numpy_helper.from_array(np.asarray(weights, np.float64), "w"),
            numpy_helper.from_array(np.array([bias]), "b"),
            numpy_helper.from_array(np.array([1]), "axes"),
        ],
    )


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
def zipmap_file(classifier_folder, frame, tmp_path_factory):
    """What skl2onnx makes by default: probabilities as a list of dictionaries."""
    import mlflow
    from skl2onnx import to_onnx

    model = mlflow.sklearn.load_model(str(classifier_folder))
    path = tmp_path_factory.mktemp("zipmap") / "zipmap.onnx"
    onnx.save_model(to_onnx(model, frame.to_numpy(np.float32)[:1]), str(path))
    return path


@pytest.fixture(scope="module")
def mute_folder(candidate_folder, tmp_path_factory):
    """The candidate with a pyfunc that does not answer."""
    return with_column(candidate_folder, tmp_path_factory.mktemp("mute") / "model", "unheard_of")


@pytest.fixture(scope="module")
def source(classifier_folder):
    with SourceModelWorker(classifier_folder, "sklearn") as loaded:
        yield loaded


@pytest.fixture(scope="module")
def report(source, candidate_folder, wrong_folder, corrupt_folder, zipmap_file, mute_folder, frame):
    big = Inputs(frame.iloc[np.arange(300) % len(frame)])
    return parity.measure(
        parity.Plan(
            source.folder,
            "sklearn",
            [
                candidate("right", candidate_folder),
                candidate("corrupt", corrupt_folder),
                candidate("wrong", wrong_folder),
                candidate("bare", candidate_folder / "model.onnx"),
                candidate("zipmap", zipmap_file),
                candidate("mute", mute_folder),
            ],
            big,
            Inputs(frame[:5], "input example"),
            [CPU, ExecutionProvider(name="CUDAExecutionProvider")],
            batch_sizes=(1, 32),
            source_identity=identity("source"),
            source_worker=source,
        )
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


def test_each_setting_of_the_session_is_a_row_with_its_own_placement(
    source, candidate_folder, frame
):
    off = ExecutionProvider(
        name=CPU.name, session_options={"graph_optimization_level": "ORT_DISABLE_ALL"}
    )
    report = parity.measure(
        parity.Plan(
            source.folder,
            "sklearn",
            [candidate("right", candidate_folder)],
            Inputs(frame),
            None,
            [CPU, off],
            source_identity=identity("source"),
            source_worker=source,
        )
    )
    by_provider = {
        str(each): [row for row in report.rows if row.execution_provider == each]
        for each in (CPU, off)
    }
    assert {len(rows) for rows in by_provider.values()} == {2}
    assert {row.status for row in report.rows} == {"measured"}
    with_all, with_none = (rows[0].placement[CPU.name] for rows in by_provider.values())
    # Without optimization, no two nodes have become one.
    nodes = onnx.load(str(candidate_folder / "model.onnx")).graph.node
    assert with_none == len(nodes) > with_all


@pytest.mark.parametrize("name", ["bare", "zipmap"])
def test_a_bare_file_is_compared_by_its_outputs(report, name):
    for row in rows_of(report, name):
        assert row.status == "measured" and row.form_differences == ()
        assert [output.name for output in row.outputs] == ["label", "probabilities"]
        assert all(output.disagreements(output.auto_tolerance) == 0 for output in row.outputs)


def test_a_candidate_whose_pyfunc_does_not_answer_fails_and_keeps_what_was_seen(report):
    single, several = rows_of(report, "mute")[:2]
    assert (single.status, several.status) == ("measured", "failed")
    assert several.cause.startswith("the candidate's pyfunc does not answer: MlflowException")
    assert "missing inputs ['unheard_of']" in several.cause and "\n" not in several.cause
    assert len(several.outputs) == 2 and several.rows == 300 and several.placement


def test_what_a_consumer_sees_is_compared_on_every_row_of_the_largest_batch(report):
    row = rows_of(report, "right")[1]
    pyfunc = next(output for output in row.outputs if output.name == "pyfunc")
    assert pyfunc.rows == row.rows == 300


def test_rows_that_end_early_say_what_to_do(report):
    for row in report.rows:
        assert row.status == "measured" or (row.cause and row.remedy)


def test_evidence_names_versions_and_inputs(report, frame):
    assert report.environment.versions["scikit-learn"]
    assert report.inputs_digest == Inputs(frame.iloc[np.arange(300) % len(frame)]).digest()
    assert 0 < report.measuring_seconds < report.seconds


def test_another_form_of_answer_is_named(source, classifier_onnx, frame, tmp_path):
    spec = classifier_onnx.graph
    part = spec.prediction.parts[0].model_copy(update={"dtype": "object"})
    changed = spec.model_copy(
        update={"prediction": spec.prediction.model_copy(update={"parts": (part,)})}
    )
    flavor.save_model(classifier_onnx.path, tmp_path / "other", graph=changed)
    report = measured(
        source.folder,
        [candidate("other", tmp_path / "other")],
        Inputs(frame),
        source_worker=source,
    )
    (difference,) = report.rows[-1].form_differences
    assert (difference.what, difference.candidate) == ("dtype", "object")


def test_a_source_that_is_loaded_already_is_used_and_stays_open(source, candidate_folder, frame):
    source.reference(Inputs(frame), [(1, 1)])
    before = workers()
    report = measured(
        source.folder,
        [candidate("right", candidate_folder)],
        Inputs(frame),
        source_worker=source,
    )
    assert {row.status for row in report.rows} == {"measured"}
    assert workers() == before


def test_a_source_that_branches_on_the_number_of_rows_is_asked_as_the_candidate_is(frame, tmp_path):
    import mlflow
    from sklearn.linear_model import LinearRegression

    class Branching(LinearRegression):
        def predict(self, X):
            return super().predict(X) + (10.0 if len(X) == 1 else 0.0)

    model = Branching().fit(frame, frame["a"])
    mlflow.sklearn.save_model(
        model,
        str(tmp_path / "source"),
        signature=mlflow.models.infer_signature(frame, model.predict(frame)),
        serialization_format="cloudpickle",
        pip_requirements=["scikit-learn"],
    )
    graph = linear_graph(tmp_path / "y.onnx", model.coef_.reshape(-1, 1), model.intercept_)
    single, several = measured(
        tmp_path / "source", [candidate("one arm", graph)], Inputs(frame), batch_sizes=(1, 32)
    ).rows
    assert single.outputs[0].disagreements(1e-6) == single.rows
    assert several.outputs[0].disagreements(1e-6) == 0


def test_a_source_whose_pyfunc_does_not_answer_is_compared_by_its_outputs(
    classifier_folder, candidate_folder, frame, tmp_path
):
    source = with_column(classifier_folder, tmp_path / "source", "unheard_of")
    row = measured(source, [candidate("right", candidate_folder)], Inputs(frame)).rows[-1]
    assert row.status == "measured" and len(row.outputs) == 2
    assert row.cause.startswith("the source's pyfunc does not answer, so forms are not compared")
    assert "missing inputs ['unheard_of']" in row.cause


def test_a_graph_of_float64_is_held_to_float64(frame, tmp_path):
    source, model = linear_source(frame, tmp_path / "source")
    weights = model.coef_.reshape(-1, 1)
    right = linear_graph(tmp_path / "right.onnx", weights, model.intercept_)
    wrong = linear_graph(tmp_path / "wrong.onnx", weights * (1 + 1e-6), model.intercept_)
    report = measured(source, [candidate("right", right), candidate("wrong", wrong)], Inputs(frame))
    for row in report.rows:
        (output,) = row.outputs
        assert output.auto_tolerance < 1e-8
        assert (output.disagreements(output.auto_tolerance) == 0) == (row.candidate == "right")


def test_nothing_to_compare_on_is_said_before_anything_starts(classifier_folder, frame):
    with pytest.raises(InvalidDataError, match="nothing to compare on"):
        measured(classifier_folder, [], None)
    with pytest.raises(InvalidDataError, match="evaluation data has no rows"):
        measured(classifier_folder, [], Inputs(frame[:0]))
