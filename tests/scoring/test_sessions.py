"""Sessions: a logged model or a bare file, opened and scored; alone, or beside others."""

from __future__ import annotations

import inspect
import shutil
import sys
import threading
import weakref

import numpy as np
import onnx
import pandas as pd
import pytest
from mlflow.exceptions import MlflowException
from onnx import helper

from mlflow_onnx_flavor import flavor, scoring
from mlflow_onnx_flavor.artifact import writer
from tests.builders import matrix_spec
from tests.onnx_graphs import doubling, repeated_text, save, side_by_side, tensor


def test_a_bare_file_answers_with_all_outputs(tmp_path):
    session = scoring.load_session(str(doubling(tmp_path / "m.onnx")))
    answer = session.predict(np.ones((3, 2), np.float32))
    np.testing.assert_array_equal(answer["y"], np.full((3, 2), 2))
    assert (session.input_names, session.output_names) == (["x"], ["y"])


def test_a_bare_file_takes_the_columns_of_its_inputs(tmp_path):
    session = scoring.load_session(side_by_side(tmp_path / "m.onnx"))
    arrays = {"b": np.array([[2.0]]), "a": np.array([[1.0]])}
    assert session.predict(arrays)["y"].tolist() == [[1, 2]]


def test_text_goes_through_a_graph_unchanged(tmp_path):
    session = scoring.load_session(repeated_text(tmp_path / "m.onnx"))
    answer = session.run({"t": np.array([["é"], [None]], object)})
    assert answer["text"].tolist() == [["é"], [""]]


def test_a_folder_without_an_onnx_model_says_what_it_holds(classifier_folder):
    with pytest.raises(ValueError, match="holds no ONNX model; its flavors are .*'sklearn'"):
        scoring.load_session(str(classifier_folder))


def test_asking_for_outputs_gives_them_by_name(candidate_folder, frame):
    session = scoring.load_session(str(candidate_folder))
    answer = session.predict(frame, params={"outputs": ["probabilities"]})
    assert list(answer) == ["probabilities"] and answer["probabilities"].shape == (len(frame), 3)
    assert list(session.predict(frame, {"outputs": "label"})) == ["label"]
    with pytest.raises(ValueError, match="no output 'nothing'; the model has"):
        session.predict(frame, params={"outputs": ["nothing"]})


@pytest.mark.parametrize("params", [None, {}, {"outputs": []}, {"outputs": None}, {"other": 1}])
def test_not_asking_gives_the_prediction(candidate_folder, frame, params):
    answer = scoring.load_session(str(candidate_folder)).predict(frame, params=params)
    assert isinstance(answer, np.ndarray) and set(answer) <= {"high", "low", "mid"}


@pytest.mark.parametrize("rows", [1, 2, 64])
def test_one_row_comes_out_for_each_that_goes_in(candidate_folder, frame, rows):
    session = scoring.load_session(str(candidate_folder))
    assert session.predict(frame.head(rows)).shape == (rows,)
    assert session.run(frame.head(rows))["probabilities"].shape == (rows, 3)


def test_the_signature_of_predict_is_there_without_being_worked_out(candidate_folder):
    predict = scoring.load_session(str(candidate_folder)).predict
    assert inspect.isfunction(predict) and predict.__signature__ is inspect.signature(predict)
    assert list(inspect.signature(predict).parameters) == ["data", "params"]


def test_one_session_serves_many_threads(candidate_folder, frame):
    session = scoring.load_session(str(candidate_folder))
    expected = session.predict(frame)
    wrong: list[int] = []

    def work(seed: int) -> None:
        order = np.random.default_rng(seed).permutation(len(frame))
        for _ in range(20):
            if not (session.predict(frame.iloc[order]) == expected[order]).all():
                wrong.append(seed)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


@pytest.mark.parametrize("config", [{}, {"tracing": True}])
def test_a_model_that_nobody_holds_is_gone_at_once(tmp_path, config):
    """Its weights must not wait for a garbage collector that counts only objects of Python."""
    model = onnx.load(doubling(tmp_path / "m.onnx"))
    model.doc_string = str(tmp_path)  # the same model may be open elsewhere in this process
    onnx.save(model, tmp_path / "m.onnx")
    session = scoring.load_session(str(tmp_path / "m.onnx"), config)
    session.predict(np.ones((1, 2), np.float32), {"execution_provider": "CPUExecutionProvider"})
    opened, predict = weakref.ref(session.session), session.predict
    del session
    assert predict(np.ones((1, 2), np.float32))["y"].tolist() == [[2, 2]]
    del predict
    assert opened() is None


def test_models_with_different_code_live_in_one_process(tmp_path, monkeypatch):
    import mlflow

    graph = doubling(tmp_path / "m.onnx")
    flavor.save_model(graph, tmp_path / "old", graph=matrix_spec("a", "b"))
    changed = tmp_path / "scoring"
    shutil.copytree(writer._scoring_folder(), changed)
    source = (changed / "predictions.py").read_text()
    tripled = source.replace("def _texts(", "TRIPLED = 3\n\n\ndef _texts(").replace(
        "return array.tolist() if as_list else array", "return TRIPLED * array"
    )
    (changed / "predictions.py").write_text(tripled)
    monkeypatch.setattr(writer, "_scoring_folder", lambda: changed)
    writer._scoring_module_name.cache_clear()
    flavor.save_model(graph, tmp_path / "new", graph=matrix_spec("a", "b"))
    writer._scoring_module_name.cache_clear()

    old, new = (mlflow.pyfunc.load_model(str(tmp_path / each)) for each in ("old", "new"))
    modules = {type(each._model_impl).__module__ for each in (old, new)}
    assert len(modules) == 2 and "mlflow_onnx_flavor.scoring.model" not in modules
    assert modules <= set(sys.modules)
    data = pd.DataFrame({"a": [1.0], "b": [2.0]})
    assert old.predict(data).tolist() == [[2, 4]] and new.predict(data).tolist() == [[6, 12]]
    assert flavor.load_session(str(tmp_path / "new")).predict(data).tolist() == [[2, 4]]


def test_the_code_of_a_model_needs_nothing_of_this_project(tmp_path):
    """Its modules import one another and what the requirements name."""
    flavor.save_model(
        doubling(tmp_path / "m.onnx"), tmp_path / "saved", graph=matrix_spec("a", "b")
    )
    (package,) = (tmp_path / "saved" / "code").iterdir()
    text = "\n".join(file.read_text() for file in package.glob("*.py"))
    roots = {
        line.split()[1].partition(".")[0]
        for line in text.splitlines()
        if line.startswith(("import ", "from ")) and not line.startswith("from .")
    }
    third_party = roots - set(sys.stdlib_module_names)
    assert third_party == {"numpy", "pandas", "onnxruntime", "yaml"}


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (np.ones(2), r"input 'x' takes an array of shape \(rows, 2\), not \(2,\)"),
        (np.ones((1, 3)), r"input 'x' takes an array of shape \(rows, 2\), not \(1, 3\)"),
        (pd.DataFrame({"a": ["x"], "b": [1]}), "'a' must hold numbers"),
    ],
)
def test_what_does_not_fit_is_a_sentence_that_mlflows_server_answers_with_400(
    tmp_path, data, sentence
):
    graph = matrix_spec("a", "b").model_dump(mode="json")
    session = scoring.open_graph(str(doubling(tmp_path / "m.onnx")), graph)
    with pytest.raises(ValueError, match=f"^{sentence}") as refused:
        session.predict(data)
    assert isinstance(refused.value, MlflowException)
    assert refused.value.get_http_status_code() == 400


@pytest.mark.parametrize("operator", ["MatMul", "Add"])
def test_what_a_node_cannot_compute_is_a_sentence_too(tmp_path, operator):
    """Where the graph leaves the width open, onnxruntime finds out in the middle of a run."""
    path = save(
        [helper.make_node(operator, ["x", "w"], ["y"])],
        [tensor("x", ["rows", "k"])],
        [tensor("y", None)],
        tmp_path / "m.onnx",
        [helper.make_tensor("w", 1, [4, 3], np.ones(12))],
    )
    session = scoring.load_session(str(path))
    with pytest.raises(
        MlflowException, match="^the model cannot compute this input: .*"
    ) as refused:
        session.predict(np.ones((2, 2), np.float32))
    assert refused.value.get_http_status_code() == 400 and "\n" not in str(refused.value)
    assert isinstance(refused.value, type(refused.value.__cause__))
