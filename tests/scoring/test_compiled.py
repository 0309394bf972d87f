"""What onnxruntime made of a model is kept for the next start, where a folder is named."""

from __future__ import annotations

import gc
import logging
import os
import shutil

import numpy as np
import onnx
import pytest

from mlflow_onnx_flavor import flavor, scoring
from mlflow_onnx_flavor.scoring import compiled, contents
from mlflow_onnx_flavor.scoring.contents import files_of, remembered_digest
from tests.onnx_graphs import adding_weights, doubling
from tests.scoring.test_opening import openvino_devices

ROWS = np.ones((3, 2), np.float32)
PLUS = ROWS + [[0, 1]]


@pytest.fixture
def model(tmp_path):
    path = tmp_path / "model"
    file = adding_weights(tmp_path / "m.onnx", columns=2)
    flavor.save_model(str(file), str(path), input_example=ROWS)
    return path


@pytest.fixture
def load(model, tmp_path):
    """Opens it anew each time: no session is left to be shared."""

    def opened(**config):
        gc.collect()
        return scoring.load_session(
            str(model), {"cache_folder": str(tmp_path / "kept"), **config}
        ).predict(ROWS)["y"]

    return opened


def kept(tmp_path) -> list:
    """What is kept of models, one folder for each and its settings."""
    return sorted(each for each in (tmp_path / "kept").iterdir() if each.is_dir())


def test_the_second_start_takes_what_the_first_kept(load, tmp_path):
    np.testing.assert_array_equal(load(), PLUS)
    (folder,) = kept(tmp_path)
    file = folder / "model.onnx"
    changed = onnx.load(str(file))
    changed.graph.initializer[0].CopyFrom(
        onnx.numpy_helper.from_array(np.array([[7, 7]], np.float32), "w")
    )
    onnx.save_model(changed, str(file))
    (folder / "digest").unlink()
    compiled._seal(folder)
    np.testing.assert_array_equal(load(), ROWS + 7)
    assert kept(tmp_path) == [folder]


def test_other_settings_and_other_bytes_are_kept_apart(load, model, tmp_path):
    load()
    load(session_options={"intra_op_num_threads": 1})
    assert len(kept(tmp_path)) == 2
    adding_weights(model / "model.onnx", columns=3)
    scoring.load_session(str(model), {"cache_folder": str(tmp_path / "kept")})
    assert len(kept(tmp_path)) == 3


def test_what_cannot_be_read_is_made_anew(load, tmp_path, caplog):
    load()
    (folder,) = kept(tmp_path)
    file = folder / "model.onnx"
    whole = file.read_bytes()
    file.write_bytes(whole[:-9])
    with caplog.at_level(logging.WARNING):
        np.testing.assert_array_equal(load(), PLUS)
    assert "it is made anew" in caplog.text
    assert file.read_bytes() == whole and kept(tmp_path) == [folder]


def zeros(folder):
    """What a disk that lost power leaves of a file that was not yet written."""
    file = folder / "weights.bin"
    file.write_bytes(bytes(file.stat().st_size))


def another_graph(folder):
    onnx.save_model(onnx.load(str(doubling(folder.parent / "m.onnx", 512))), folder / "model.onnx")


def no_folder(folder):
    shutil.rmtree(folder)
    folder.write_text("")


@pytest.mark.parametrize("damage", [zeros, another_graph, no_folder])
def test_what_is_not_what_was_written_is_made_anew(tmp_path, caplog, damage):
    model, rows = tmp_path / "model", np.ones((3, 512), np.float32)
    flavor.save_model(str(adding_weights(tmp_path / "m.onnx", columns=512)), str(model))
    config = {"cache_folder": str(tmp_path / "kept")}
    for _ in range(2):
        expected = scoring.load_session(str(model), config).predict(rows)["y"]
        gc.collect()
    (folder,) = kept(tmp_path)
    damage(folder)
    with caplog.at_level(logging.WARNING):
        found = scoring.load_session(str(model), config).predict(rows)["y"]
    np.testing.assert_array_equal(found, expected)
    assert "is not what was written there" in caplog.text
    assert kept(tmp_path) == [folder] and (folder / "weights.bin").exists()


def test_weights_lie_beside_what_is_kept_and_other_weights_are_kept_apart(tmp_path):
    outside = {"save_as_external_data": True, "location": "w.bin", "size_threshold": 0}
    weights = np.arange(512, dtype=np.float32)
    rows = np.ones((3, 512), np.float32)
    adding_weights(tmp_path / "m.onnx", columns=512, **outside)
    path = tmp_path / "model"
    flavor.save_model(str(tmp_path / "m.onnx"), str(path), input_example=rows)
    config = {"cache_folder": str(tmp_path / "kept")}

    def answers() -> np.ndarray:
        gc.collect()
        return scoring.load_session(str(path), config).predict(rows)["y"]

    for _ in range(2):
        np.testing.assert_array_equal(answers(), rows + weights)
    (folder,) = kept(tmp_path)
    assert (folder / "weights.bin").stat().st_size >= weights.nbytes
    (path / "w.bin").write_bytes((weights * 3).tobytes())
    np.testing.assert_array_equal(answers(), rows + weights * 3)
    assert len(kept(tmp_path)) == 2


def test_a_model_is_read_once_for_its_digest(model, tmp_path, monkeypatch):
    for file in model.rglob("*"):
        os.utime(file, (1, 1))  # long ago: what is written just now is read again
    files, memory = files_of(model / "model.onnx"), tmp_path / "digests.json"
    digest = remembered_digest(files, memory)
    monkeypatch.setattr(contents, "digest_of_files", lambda files: "read again")
    assert remembered_digest(files, memory) == digest
    (model / "model.onnx").write_bytes(b"another")
    assert remembered_digest(files, memory) == "read again"


@pytest.mark.skipif(not openvino_devices(), reason="OpenVINO supports no device of this machine")
def test_what_a_provider_compiled_is_kept_beside_a_graph_that_names_it(load, tmp_path):
    on_openvino = {"execution_providers": ["OpenVINOExecutionProvider"]}
    np.testing.assert_allclose(load(**on_openvino), PLUS)
    (folder,) = kept(tmp_path)
    (node,) = onnx.load(str(folder / "model.onnx")).graph.node
    assert node.op_type == "EPContext"
    made = {each.name: each.stat().st_mtime_ns for each in folder.iterdir()}
    assert len(made) == 3  # the graph, what was compiled, and the digest of both
    np.testing.assert_allclose(load(**on_openvino), PLUS)
    assert {each.name: each.stat().st_mtime_ns for each in folder.iterdir()} == made


def test_weights_whose_files_are_not_known_are_not_kept(tmp_path, caplog):
    outside = {"save_as_external_data": True, "location": "w.bin", "size_threshold": 0}
    adding_weights(tmp_path / "m.onnx", columns=2, **outside)
    with caplog.at_level(logging.WARNING):
        session = scoring.load_session(
            str(tmp_path / "m.onnx"), {"cache_folder": str(tmp_path / "kept")}
        )
    np.testing.assert_array_equal(session.predict(ROWS)["y"], PLUS)
    assert "is not kept in" in caplog.text


def test_a_folder_that_cannot_be_made_is_a_warning(model, tmp_path, caplog):
    (tmp_path / "file").write_text("")
    with caplog.at_level(logging.WARNING):
        session = scoring.load_session(str(model), {"cache_folder": str(tmp_path / "file" / "x")})
    np.testing.assert_array_equal(session.predict(ROWS)["y"], PLUS)
    assert "nothing is kept in" in caplog.text


def test_whoever_runs_the_server_names_the_folder(model, tmp_path, monkeypatch):
    monkeypatch.setenv("MLFLOW_ONNX_CACHE", str(tmp_path / "kept"))
    scoring.load_session(str(model))
    assert len(kept(tmp_path)) == 1
