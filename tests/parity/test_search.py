"""A search finds where a candidate differs, though no row that was given shows it."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from mlflow_onnx_flavor.errors import WorkerTaskError
from mlflow_onnx_flavor.inputs import Inputs
from mlflow_onnx_flavor.inputs.probes.mutations import can_vary, neighbours
from mlflow_onnx_flavor.parity.search import search
from mlflow_onnx_flavor.schemas.origins import PROBES

RNG = np.random.default_rng(0)
ROWS = RNG.normal(size=(64, 5)).astype(np.float32)


def source(path, _rows):
    return {"y": Inputs.load(path).data.astype(np.float64).sum(axis=1)}


def off_beyond(limit):
    """Right within a distance of the origin, and a little off the further a row is from it."""

    def answer(path, _rows):
        data = Inputs.load(path).data.astype(np.float64)
        return {"y": data.sum(axis=1) + np.maximum(np.abs(data).max(axis=1) - limit, 0) ** 2}

    return answer


def test_what_differs_little_is_followed_to_where_it_differs_more():
    limit = 0.9 * np.abs(ROWS).max()
    found = search([Inputs(ROWS)], source, off_beyond(limit), seed=0)
    assert np.abs(found.data).max() - limit > 2 * (np.abs(ROWS).max() - limit)
    assert found.data.dtype == ROWS.dtype and found.rows <= 32


def test_the_same_seed_finds_the_same_rows():
    found = [search([Inputs(ROWS)], source, off_beyond(1.0), seed=4).digest() for _ in range(2)]
    assert found[0] == found[1]


def test_what_is_refused_is_left_out():
    def refuses(path, rows):
        if np.abs(Inputs.load(path).data).max() > np.abs(ROWS).max():
            raise WorkerTaskError("beyond what it takes")
        return source(path, rows)

    found = search([Inputs(ROWS)], refuses, off_beyond(1.0), seed=0)
    assert np.abs(found.data).max() <= np.abs(ROWS).max()

    def broken(_path, _rows):
        raise WorkerTaskError("no")

    assert search([Inputs(ROWS)], broken, source, seed=0) is None


def test_text_alone_is_not_varied():
    texts = Inputs(pd.DataFrame({"text": ["a", "b"]}))
    assert not can_vary(texts) and search([texts], source, source, seed=0) is None


FRAME = pd.DataFrame({"a": RNG.normal(size=9), "n": range(9), "t": list("abcdefghi")})


@pytest.mark.parametrize(
    "data", [FRAME, ROWS, {"x": ROWS, "ids": np.arange(64)}, RNG.normal(size=(8, 3, 4, 4))]
)
def test_neighbours_have_the_form_of_the_rows(data):
    made = neighbours(Inputs(data, PROBES), 50, np.random.default_rng(0))
    assert made.rows == 50 and made.origin == PROBES
    if isinstance(data, pd.DataFrame):
        assert made.data.dtypes.to_dict() == data.dtypes.to_dict()
        assert not set(made.data["a"]) <= set(data["a"])
    elif isinstance(data, dict):
        assert made.data["x"].dtype == np.float32 and set(made.data["ids"]) <= set(range(64))
    else:
        assert made.data.shape[1:] == data.shape[1:] and made.data.dtype == data.dtype
