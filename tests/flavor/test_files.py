"""The model's files: copied with their weights, never read into memory, refused with a reason."""

from __future__ import annotations

import subprocess
import sys

import mlflow
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from mlflow_onnx_flavor import flavor
from mlflow_onnx_flavor.errors import CorruptModelError, UnsupportedModelError
from mlflow_onnx_flavor.onnx_graph.structure import read_structure
from tests.onnx_graphs import adding_weights, doubling, huge, save, tensor

BESIDE = {"save_as_external_data": True, "location": "weights.bin"}


def test_weights_beside_the_file_travel_with_it(tmp_path):
    flavor.save_model(adding_weights(tmp_path / "big.onnx", **BESIDE), tmp_path / "saved")
    model = mlflow.pyfunc.load_model(str(tmp_path / "saved"))
    answer = model.predict(np.zeros((2, 4096), np.float32))
    np.testing.assert_array_equal(answer["y"][1], np.arange(4096))
    (weights,) = mlflow.onnx.load_model(str(tmp_path / "saved")).graph.initializer
    np.testing.assert_array_equal(numpy_helper.to_array(weights)[0], np.arange(4096))


def test_weights_of_a_nodes_attribute_travel_too(tmp_path):
    value = numpy_helper.from_array(np.arange(4096, dtype=np.float32).reshape(1, -1), "w")
    path = save(
        [
            helper.make_node("Constant", [], ["w"], value=value),
            helper.make_node("Add", ["x", "w"], ["y"]),
        ],
        [tensor("x", ["rows", 4096])],
        [tensor("y", ["rows", 4096])],
        tmp_path / "m.onnx",
        convert_attribute=True,
        **BESIDE,
    )
    flavor.save_model(path, tmp_path / "saved")
    assert (tmp_path / "saved/weights.bin").stat().st_size == 4096 * 4
    flavor.load_session(str(tmp_path / "saved")).run(np.zeros((1, 4096), np.float32))


@pytest.mark.process
def test_a_large_model_is_copied_without_loading_it(tmp_path):
    """1 GB of weights within the file; the child that saves it takes a fraction of that."""
    path = huge(tmp_path / "large.onnx", 1_000_000_000)
    assert read_structure(path).graph.initializer[0].dims == [1, 250_000_000]
    code = f"""
import resource
import mlflow_onnx_flavor
from mlflow_onnx_flavor import flavor
from tests.onnx_graphs import doubling
from pathlib import Path
flavor.save_model(doubling(Path({str(tmp_path / "small.onnx")!r})), {str(tmp_path / "first")!r})
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
flavor.save_model({str(path)!r}, {str(tmp_path / "saved")!r})
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024)
"""
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert int(found.stdout.split()[-1]) < 100_000_000 < path.stat().st_size


def test_the_structure_is_the_model_less_its_weights(tmp_path, classifier_onnx):
    for path in (adding_weights(tmp_path / "m.onnx"), classifier_onnx.path):
        expected = onnx.load(str(path))
        found = read_structure(path)
        for each in expected.graph.initializer:
            for field in ("raw_data", "float_data", "int64_data", "int32_data", "string_data"):
                each.ClearField(field)
        assert found == expected


@pytest.mark.parametrize("length", [0, 1, 7, 100, -1])
def test_a_file_that_is_cut_off_is_one_sentence(tmp_path, length):
    whole = adding_weights(tmp_path / "m.onnx").read_bytes()
    (tmp_path / "cut.onnx").write_bytes(whole[:length])
    with pytest.raises(CorruptModelError, match="cut.onnx' is not a readable ONNX file"):
        flavor.save_model(tmp_path / "cut.onnx", tmp_path / "saved")
    assert not (tmp_path / "saved").exists()


def test_a_file_that_is_no_onnx_is_one_sentence(tmp_path):
    (tmp_path / "bad.onnx").write_bytes(b"this is not a model")
    for name in ("bad.onnx", "missing.onnx"):
        with pytest.raises(CorruptModelError, match=f"{name}' is not a readable ONNX file"):
            flavor.save_model(tmp_path / name, tmp_path / "saved")
    assert not (tmp_path / "saved").exists()


def test_a_folder_that_was_there_stays_when_saving_fails(tmp_path):
    (tmp_path / "saved").mkdir()
    with pytest.raises(CorruptModelError):
        flavor.save_model(tmp_path / "missing.onnx", tmp_path / "saved")
    assert (tmp_path / "saved").is_dir()


def relocated(tmp_path, location):
    path = adding_weights(tmp_path / "m.onnx", **BESIDE)
    proto = onnx.load(str(path), load_external_data=False)
    proto.graph.initializer[0].external_data[0].value = location
    path.write_bytes(proto.SerializeToString())
    return path


@pytest.mark.parametrize(
    ("location", "sentence"),
    [("../secret.bin", "outside its own folder"), ("gone.bin", "which is not beside it")],
)
def test_weights_that_are_not_beside_the_file_are_refused(tmp_path, location, sentence):
    inside = tmp_path / "inside"
    inside.mkdir()
    (tmp_path / "secret.bin").write_bytes(bytes(4096 * 4))
    with pytest.raises(CorruptModelError, match=sentence):
        flavor.save_model(relocated(inside, location), tmp_path / "saved")
    assert not (tmp_path / "saved").exists()


def test_a_proto_whose_weights_are_elsewhere_is_refused(tmp_path):
    path = adding_weights(tmp_path / "m.onnx", **BESIDE)
    proto = onnx.load(str(path), load_external_data=False)
    with pytest.raises(CorruptModelError, match="'weights.bin'; give the path"):
        flavor.save_model(proto, tmp_path / "saved")


def test_inputs_that_numpy_has_no_dtype_for_are_refused(tmp_path):
    path = save(
        [helper.make_node("Identity", ["x"], ["y"])],
        [tensor("x", ["rows"], TensorProto.BFLOAT16)],
        [tensor("y", ["rows"], TensorProto.BFLOAT16)],
        tmp_path / "m.onnx",
    )
    with pytest.raises(UnsupportedModelError, match="input 'x' is not a tensor of numbers or text"):
        flavor.save_model(path, tmp_path / "saved")


def test_a_damaged_artifact_is_one_sentence(tmp_path):
    flavor.save_model(doubling(tmp_path / "m.onnx"), tmp_path / "saved")
    (tmp_path / "saved/model.onnx").write_bytes(b"\xff" * 50)
    with pytest.raises(CorruptModelError, match="holds no readable model.onnx"):
        flavor.load_model(str(tmp_path / "saved"))
