"""A label between classes that the source scores the same is a tie; any other is an error."""

from __future__ import annotations

import numpy as np
import pytest

from mlflow_onnx_flavor.comparison.label_ties import tied_rows
from mlflow_onnx_flavor.comparison.matching import compare_all
from mlflow_onnx_flavor.comparison.outputs import compare_outputs
from mlflow_onnx_flavor.onnx_graph.precision import Arithmetic


def outputs(scores, dtype=np.float64):
    scores = np.array(scores, dtype)
    return {
        "label": np.array(["a", "b", "c"], object)[scores.argmax(axis=1)],
        "probabilities": scores,
    }


EVEN = 0.4, 0.4, 0.2


def test_a_label_that_rounding_decides_is_a_tie():
    source = outputs([EVEN, [0.7, 0.2, 0.1]])
    candidate = outputs([[0.4 - 3e-8, 0.4 + 3e-8, 0.2], [0.7, 0.2, 0.1]], np.float32)
    label, scores = compare_all(source, candidate, Arithmetic("float32"))
    assert (label.label_disagreements, label.label_ties) == (0, 1)
    assert scores.disagreements(scores.auto_tolerance) == 0


def test_a_label_that_the_source_is_sure_of_is_an_error():
    source = outputs([[0.45, 0.35, 0.2]])
    candidate = outputs([[0.35, 0.45, 0.2]], np.float32)
    label, scores = compare_all(source, candidate, Arithmetic("float32"))
    assert (label.label_disagreements, label.label_ties) == (1, 0)
    assert scores.disagreements(scores.auto_tolerance) == 1


def test_a_tie_does_not_excuse_a_third_class():
    source, candidate = outputs([EVEN]), outputs([[0.2, 0.3, 0.5]])
    (label, _) = compare_all(source, candidate, Arithmetic("float64"))
    assert (label.label_disagreements, label.label_ties) == (1, 0)


def test_a_wrong_label_beside_right_scores_is_an_error():
    source, candidate = outputs([EVEN]), outputs([EVEN])
    candidate["label"] = np.array(["c"], object)
    (label, _) = compare_all(source, candidate, Arithmetic("float64"))
    assert label.label_disagreements == 1


@pytest.mark.parametrize(
    "missing", ["probabilities of the source", "probabilities of the candidate"]
)
def test_without_scores_every_other_label_is_an_error(missing):
    source, candidate = outputs([EVEN]), outputs([[0.4 - 1e-9, 0.4 + 1e-9, 0.2]])
    (source if "source" in missing else candidate).pop("probabilities")
    assert tied_rows(source, candidate, Arithmetic("float64")) is None
    assert compare_all(source, candidate, Arithmetic("float64"))[0].label_disagreements == 1


def test_a_tied_row_with_the_label_of_a_third_class_is_an_error():
    source = outputs([EVEN, [0.1, 0.8, 0.1], [0.1, 0.1, 0.8]])
    candidate = outputs([[0.4 - 1e-12, 0.4 + 1e-12, 0.2], [0.1, 0.8, 0.1], [0.1, 0.1, 0.8]])
    candidate["label"][0] = "c"
    (label, _) = compare_all(source, candidate, Arithmetic("float64"))
    assert (label.label_disagreements, label.label_ties) == (1, 0)


def test_ties_of_other_rows_than_these_excuse_nothing():
    labels, others = np.array(["a", "b"], object), np.array(["b", "b"], object)
    parity = compare_outputs("label", labels, others, Arithmetic("float64"), tied=np.array([True]))
    assert (parity.label_disagreements, parity.label_ties) == (1, 0)
