"""Probabilities as distributions, embeddings by their directions."""

from __future__ import annotations

import numpy as np
import pytest

from mlflow_onnx_flavor.comparison.distributions import distances
from mlflow_onnx_flavor.comparison.outputs import compare_outputs

HALF = np.array([[0.5, 0.5], [0.9, 0.1]])


def test_the_same_distributions_are_nothing_apart():
    assert distances(HALF, HALF.copy()) == {"max_divergence": 0.0, "max_confidence_shift": 0.0}


def test_opposite_distributions_are_ln_2_apart():
    found = distances(np.array([[1.0, 0.0]]), np.array([[0.0, 1.0]]))
    assert found["max_divergence"] == pytest.approx(np.log(2))
    assert found["max_confidence_shift"] == 1.0


def test_the_shift_is_that_of_the_class_the_source_chose():
    found = distances(HALF, np.array([[0.5, 0.5], [0.7, 0.3]]))
    assert found["max_confidence_shift"] == pytest.approx(0.2)
    assert 0 < found["max_divergence"] < np.log(2)


def test_embeddings_are_held_by_their_directions():
    rows = np.random.default_rng(0).normal(size=(5, 16))
    assert distances(rows, rows * 3) == {"min_cosine": pytest.approx(1.0)}
    turned = rows.copy()
    turned[2] = -turned[2]
    assert distances(rows, turned)["min_cosine"] == pytest.approx(-1.0)


@pytest.mark.parametrize(
    "rows",
    [np.ones((3, 4)) * 7, np.ones(3), np.ones((3, 1)), np.full((2, 9), np.nan), np.zeros((2, 9))],
)
def test_other_scores_have_neither(rows):
    assert distances(rows, rows) == {}


def test_they_are_part_of_the_evidence():
    assert compare_outputs("p", HALF, HALF.astype(np.float32)).max_confidence_shift < 1e-7
    assert compare_outputs("y", np.ones(3), np.ones(3)).min_cosine is None
