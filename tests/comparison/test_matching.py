"""Outputs find each other by name, then by position; what is missing is named."""

from __future__ import annotations

import numpy as np

from mlflow_onnx_flavor.comparison import pyfunc_output
from mlflow_onnx_flavor.comparison.matching import (
    compare_all,
    compare_answers,
    missing_outputs,
    pairs,
)
from mlflow_onnx_flavor.onnx_graph.precision import Arithmetic

ONES = np.ones((3, 2))


def test_names_decide_whatever_the_order():
    assert pairs(["a", "b"], ["b", "a"]) == {"a": "a", "b": "b"}


def test_what_no_name_matches_is_matched_in_order():
    assert pairs(["label", "probabilities"], ["output_label", "output_probability"]) == {
        "label": "output_label",
        "probabilities": "output_probability",
    }
    assert pairs(["label", "scores"], ["extra", "label"]) == {"label": "label", "scores": "extra"}


def test_a_missing_output_agrees_on_no_row_and_is_named():
    expected, found = {"a": ONES, "b": ONES}, {"a": ONES}
    first, second = compare_all(expected, found, Arithmetic("float32"))
    assert first.disagreements(1e-4) == 0 and second.disagreements(10.0) == 3
    assert missing_outputs(expected, found) == "the candidate has no output 'b'; it gives ['a']"
    assert missing_outputs(expected, {"x": ONES, "y": ONES}) == ""


def test_answers_are_compared_part_by_part():
    source = pyfunc_output.describe({"label": np.array(["a", "b"]), "score": np.array([0.1, 0.2])})
    candidate = pyfunc_output.describe(
        {"label": np.array(["a", "x"]), "score": np.array([0.1, 0.2])}
    )
    differences, (label, score) = compare_answers(source, candidate, Arithmetic("float64"))
    assert differences == ()
    assert (label.name, label.label_disagreements) == ("pyfunc 'label'", 1)
    assert (score.name, score.disagreements(1e-12)) == ("pyfunc 'score'", 0)


def test_answers_with_other_parts_are_a_difference_of_form():
    source = pyfunc_output.describe({"label": np.array([1]), "score": np.array([0.1])})
    differences, outputs = compare_answers(
        source, pyfunc_output.describe({"label": np.array([1])}), Arithmetic("float32")
    )
    assert [each.what for each in differences] == ["columns"] and outputs == ()


def test_another_number_of_rows_is_a_difference_and_disagrees():
    source, candidate = pyfunc_output.describe(np.ones(4)), pyfunc_output.describe(np.ones(3))
    differences, (parity,) = compare_answers(source, candidate, Arithmetic("float32"))
    assert [each.what for each in differences] == ["shape"] and parity.disagreements(10.0) == 4
