"""Answers to several batches become one array, and no shape is told from another by less."""

from __future__ import annotations

import numpy as np
import pytest

from mlflow_onnx_flavor.comparison.batches import joined
from mlflow_onnx_flavor.comparison.outputs import compare_outputs
from mlflow_onnx_flavor.errors import UnsupportedModelError

LONG, SHORT = np.ones((2, 3, 4), np.float32), np.ones((1, 2, 4), np.float32)


def test_a_shorter_batch_is_filled_up():
    whole = joined("y", [LONG, SHORT])
    assert whole.shape == (3, 3, 4) and whole.dtype == np.float32
    assert np.isnan(whole).sum() == 4 and np.isnan(whole[2, 2]).all()
    assert compare_outputs("y", whole, whole.copy()).disagreements(0.0) == 0


def test_a_batch_that_is_longer_than_the_sources_disagrees():
    longer = np.concatenate([SHORT, np.zeros((1, 1, 4), np.float32)], axis=1)
    found = compare_outputs("y", joined("y", [LONG, SHORT]), joined("y", [LONG, longer]))
    assert found.disagreements(1e9) == 1


def test_labels_whose_shape_changes_are_refused():
    with pytest.raises(UnsupportedModelError, match="'y' changes its shape"):
        joined("y", [LONG.astype(np.int64), SHORT.astype(np.int64)])
