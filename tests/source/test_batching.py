"""The source is asked in batches, as it will be in service, where that makes a difference."""

from __future__ import annotations

import numpy as np
import pytest

from mlflow_onnx_flavor.inputs import Inputs
from mlflow_onnx_flavor.source import batching
from mlflow_onnx_flavor.source.batching import PROBED_BATCHES, answers_in_batches

ROWS = np.arange(100, dtype=np.float32).reshape(-1, 1)


class Source:
    """y = x, plus ``bonus(rows of the call)``; remembers the sizes of its calls."""

    def __init__(self, bonus=lambda rows: 0):
        self.bonus, self.sizes = bonus, []

    def __call__(self, inputs):
        self.sizes.append(inputs.rows)
        return {"y": inputs.data[:, 0] + np.float32(self.bonus(inputs.rows))}


def asked(source, batch_size, rows=100):
    whole = source(Inputs(ROWS))
    source.sizes.clear()
    return answers_in_batches(source, Inputs(ROWS), batch_size, rows, whole)["y"]


@pytest.fixture
def impatient(monkeypatch):
    """Every source is too slow to be asked for all batches."""
    monkeypatch.setattr(batching, "PATIENCE_S", -1.0)


@pytest.mark.parametrize("batch_size", [1, 7, 32, 300])
@pytest.mark.parametrize("rows", [1, 60, 100])
def test_answers_are_those_of_the_first_rows_in_order(batch_size, rows, impatient):
    source = Source()
    assert asked(source, batch_size, rows).tolist() == ROWS[:rows, 0].tolist()
    last = rows % batch_size if rows > batch_size else 0
    assert set(source.sizes) == {batch_size, last or batch_size}
    assert len(source.sizes) <= PROBED_BATCHES


def test_a_fast_source_is_asked_for_every_batch():
    source = Source()
    assert asked(source, 7).tolist() == ROWS[:, 0].tolist()
    assert sorted(source.sizes) == [2] + [7] * 14


def test_a_source_of_one_size_is_asked_for_full_batches():
    def ask(inputs):
        if inputs.rows != 32:
            raise ValueError("takes 32 rows")
        return {"y": inputs.data[:, 0]}

    found = answers_in_batches(ask, Inputs(ROWS), 32, 100, {"y": ROWS[:, 0]})["y"]
    assert found.tolist() == ROWS[:, 0].tolist()


def test_a_model_that_branches_on_the_number_of_rows_is_asked_batch_by_batch(impatient):
    source = Source(bonus=lambda rows: 5 if rows == 1 else 0)
    assert asked(source, 1).tolist() == (ROWS[:, 0] + 5).tolist()
    assert source.sizes == [1] * 100
    assert asked(source, 32).tolist() == ROWS[:, 0].tolist()


def test_a_model_that_is_different_on_many_rows_at_once_is_asked_batch_by_batch(impatient):
    source = Source(bonus=lambda rows: 1 if rows > 64 else 0)
    assert asked(source, 32).tolist() == ROWS[:, 0].tolist()


def test_an_output_without_rows_is_kept_as_each_batch_gave_it():
    def ask(inputs):
        return {"total": np.float32(inputs.data.sum())}

    whole = ask(Inputs(ROWS))
    totals = answers_in_batches(ask, Inputs(ROWS), 50, 100, whole)["total"]
    assert totals.tolist() == [ROWS[:50].sum(), ROWS[50:].sum()]
