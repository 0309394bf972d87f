"""One session a process for the same model under the same settings."""

from __future__ import annotations

import gc
import shutil
import threading
import weakref

import mlflow
import numpy as np
import pytest

from mlflow_onnx_flavor import flavor, scoring
from tests.onnx_graphs import adding_weights, doubling

ROWS = np.ones((3, 2), np.float32)


@pytest.fixture
def model(tmp_path):
    path = tmp_path / "model"
    flavor.save_model(str(doubling(tmp_path / "m.onnx")), str(path), input_example=ROWS)
    return path


def test_the_same_model_loaded_twice_is_one_session(model, tmp_path):
    first = mlflow.pyfunc.load_model(str(model))
    copy = shutil.copytree(model, tmp_path / "fetched again")
    second = mlflow.pyfunc.load_model(str(copy))
    assert first.get_raw_model() is second.get_raw_model()
    kept = weakref.ref(first.get_raw_model())
    del first
    gc.collect()
    np.testing.assert_array_equal(second.predict(ROWS)["y"], 2 * ROWS)
    del second
    gc.collect()
    assert kept() is None


def test_other_settings_are_another_session(model):
    session = scoring.load_session(str(model))
    for config in ({"session_options": {"intra_op_num_threads": 1}}, {"record_placement": True}):
        other = scoring.load_session(str(model), config)
        assert other.session is not session.session
        assert scoring.load_session(str(model), config).session is other.session


def test_another_model_in_the_same_place_is_another_session(model, tmp_path):
    session = scoring.load_session(str(model))
    adding_weights(model / "model.onnx", columns=2)
    other = scoring.load_session(str(model))
    np.testing.assert_array_equal(session.predict(ROWS)["y"], 2 * ROWS)
    np.testing.assert_array_equal(other.predict(ROWS)["y"], ROWS + [[0, 1]])


def test_other_weights_beside_the_same_graph_are_another_session(tmp_path):
    outside = {"save_as_external_data": True, "location": "w.bin", "size_threshold": 0}
    adding_weights(tmp_path / "m.onnx", columns=2, **outside)
    path = tmp_path / "model"
    flavor.save_model(str(tmp_path / "m.onnx"), str(path), input_example=ROWS)
    session = scoring.load_session(str(path))
    assert scoring.load_session(str(path)).session is session.session
    (path / "w.bin").write_bytes(np.array([5, 6], np.float32).tobytes())
    other = scoring.load_session(str(path))
    np.testing.assert_array_equal(other.predict(ROWS)["y"], ROWS + [[5, 6]])


def test_threads_that_load_at_once_end_with_one_session(model):
    found = []

    def load() -> None:
        found.append(scoring.load_session(str(model)))

    threads = [threading.Thread(target=load) for _ in range(8)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert len(found) == 8 and len({id(each.session) for each in found}) == 1
