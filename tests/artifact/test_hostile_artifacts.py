"""Artifacts made to harm: refused with a sentence, and nothing of theirs is run."""

from __future__ import annotations

import pickle
import shutil
import struct
import sys
import zipfile
from pathlib import Path

import mlflow
import numpy as np
import onnx
import pytest
import yaml
from onnx import TensorProto, helper

import mlflow_onnx_flavor
from mlflow_onnx_flavor import flavor
from mlflow_onnx_flavor.artifact.trusted_code import scoring_module_name
from mlflow_onnx_flavor.cli import main
from mlflow_onnx_flavor.errors import (
    CorruptModelError,
    MissingSignatureError,
    OnnxFlavorError,
    UnsafeModelError,
)
from mlflow_onnx_flavor.pipeline.check_latency import champion_folder
from mlflow_onnx_flavor.pipeline.log_source import prepare_source
from mlflow_onnx_flavor.schemas.configuration import Configuration, ConversionOptions
from mlflow_onnx_flavor.schemas.records import CandidatesRecord
from tests.onnx_graphs import doubling

pytestmark = pytest.mark.process

ROWS = np.ones((4, 2), np.float32)


@pytest.fixture
def folder(tmp_path) -> Path:
    path = tmp_path / "model"
    flavor.save_model(str(doubling(tmp_path / "m.onnx")), str(path), input_example=ROWS)
    return path


def rewritten(folder: Path, **pyfunc) -> Path:
    """The MLmodel file with these entries of python_function."""
    file = folder / "MLmodel"
    written = yaml.safe_load(file.read_text())
    written["flavors"]["python_function"].update(pyfunc)
    file.write_text(yaml.safe_dump(written))
    return folder


def marking(file: Path, marker: Path) -> None:
    """A module that tells when it is imported."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(f"import pathlib\npathlib.Path({str(marker)!r}).touch()\n")


def refused(model: Path, sentence: str) -> None:
    with pytest.raises(CorruptModelError, match=sentence):
        mlflow_onnx_flavor.convert(str(model), ROWS)
    with pytest.raises(CorruptModelError, match=sentence):
        mlflow_onnx_flavor.check_parity(str(model.parent / "m.onnx"), str(model), ROWS)


def test_a_foreign_loader_is_refused_and_not_run(folder, tmp_path):
    marking(folder / "code" / "evil_loader.py", tmp_path / "ran")
    refused(rewritten(folder, loader_module="evil_loader"), "loaded by 'evil_loader'")
    assert not (tmp_path / "ran").exists()


def test_code_that_takes_the_place_of_a_module_is_refused_and_not_run(folder, tmp_path):
    marking(folder / "code" / "onnxruntime" / "__init__.py", tmp_path / "ran")
    refused(folder, "'onnxruntime', which would take the place")
    assert not (tmp_path / "ran").exists()


def test_changed_scoring_code_is_refused_and_not_run(folder, tmp_path):
    (shipped,) = (folder / "code").glob("mlflow_onnx_scoring_*")
    marking(shipped / "__init__.py", tmp_path / "ran")
    refused(folder, "was changed since it was logged")
    assert not (tmp_path / "ran").exists()


def test_a_champion_that_would_run_foreign_code_is_refused_and_not_run(folder, tmp_path):
    marking(folder / "code" / "evil_loader.py", tmp_path / "ran")
    rewritten(folder, loader_module="evil_loader")
    none = CandidatesRecord(
        run_id="1", source_run_id="2", convert_run_id="3", candidates=(), skipped=()
    )
    with pytest.raises(CorruptModelError, match="loaded by 'evil_loader'"):
        champion_folder(str(folder), none)
    assert not (tmp_path / "ran").exists()


def test_no_code_of_an_onnx_source_is_run(folder, tmp_path, monkeypatch):
    """Also not where whoever changed it gave it the name of its new digest."""
    (shipped,) = (folder / "code").glob("mlflow_onnx_scoring_*")
    with (shipped / "__init__.py").open("a") as file:
        file.write(f"\nimport pathlib\npathlib.Path({str(tmp_path / 'ran')!r}).touch()\n")
    renamed = shipped.rename(shipped.with_name(scoring_module_name(shipped)))
    rewritten(folder, loader_module=renamed.name)
    assert mlflow_onnx_flavor.convert(str(folder), ROWS).path.exists()
    assert not (tmp_path / "ran").exists()
    monkeypatch.setattr(sys, "path", list(sys.path))
    mlflow.pyfunc.load_model(str(folder))
    assert (tmp_path / "ran").exists()


@pytest.mark.parametrize("key", ["data", "code"])
def test_an_entry_that_leads_out_of_the_folder_is_refused(folder, key):
    refused(rewritten(folder, **{key: "../elsewhere"}), "outside its own folder")


def test_code_of_the_user_that_harms_nothing_is_let_be(folder):
    (folder / "code" / "own_code.py").write_text("ANSWER = 42\n")
    assert mlflow_onnx_flavor.convert(str(folder), ROWS).path.exists()


def test_a_model_that_this_process_has_loaded_already_is_let_be(folder, monkeypatch):
    """MLflow leaves the code of a loaded model on the path; it is no installed module for that."""
    (folder / "code" / "own_code.py").write_text("ANSWER = 42\n")
    monkeypatch.setattr(sys, "path", list(sys.path))
    mlflow.pyfunc.load_model(str(folder))
    assert str(folder / "code") in sys.path
    assert mlflow_onnx_flavor.convert(str(folder), ROWS).path.exists()


def truncated(path: Path) -> None:
    path.write_bytes(doubling(path).read_bytes()[:-7])


def zipped(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("data.pkl", pickle.dumps({"weights": [1.0]}))


def pickled(path: Path) -> None:
    path.write_bytes(pickle.dumps({"weights": [1.0] * 100}))


def empty(path: Path) -> None:
    path.write_bytes(b"")


def length_beyond_the_end(path: Path) -> None:
    """A graph that says that it is 2**62 bytes long."""
    path.write_bytes(b"\x3a" + b"\xff" * 8 + b"\x3f" + b"\x00" * 16)


def absurd_size(path: Path) -> None:
    """An initializer that says that it holds 2**60 numbers."""
    weights = TensorProto(
        name="w", data_type=TensorProto.FLOAT, dims=[1 << 30, 1 << 30], raw_data=struct.pack("f", 1)
    )
    save(path, [helper.make_node("Add", ["x", "w"], ["y"])], [weights])


def nested(path: Path) -> None:
    """An If within an If, ten thousand times; in bytes, since protobuf does not build it."""

    def field(number: int, content: bytes) -> bytes:
        length, rest = b"", len(content)
        while rest > 0x7F:
            length, rest = length + bytes([rest & 0x7F | 0x80]), rest >> 7
        return bytes([number << 3 | 2]) + length + bytes([rest]) + content

    graph = field(1, field(1, b"x") + field(2, b"y") + field(4, b"Identity"))
    for _ in range(10_000):
        arm = field(1, b"then_branch") + field(6, graph)
        graph = field(1, field(1, b"c") + field(2, b"y") + field(4, b"If") + field(5, arm))
    path.write_bytes(field(7, graph + field(12, field(1, b"y"))))


def endless_loop(path: Path) -> None:
    """A loop of 2**62 steps that waits for nothing."""
    step = helper.make_graph(
        [helper.make_node("Identity", [name], [f"{name}_next"]) for name in ("go", "v")],
        "step",
        [
            helper.make_tensor_value_info("at", TensorProto.INT64, []),
            helper.make_tensor_value_info("go", TensorProto.BOOL, []),
            helper.make_tensor_value_info("v", TensorProto.FLOAT, ["n", 2]),
        ],
        [
            helper.make_tensor_value_info("go_next", TensorProto.BOOL, []),
            helper.make_tensor_value_info("v_next", TensorProto.FLOAT, ["n", 2]),
        ],
    )
    constants = [
        helper.make_tensor("times", TensorProto.INT64, [], [1 << 62]),
        helper.make_tensor("true", TensorProto.BOOL, [], [True]),
    ]
    save(path, [helper.make_node("Loop", ["times", "true", "x"], ["y"], body=step)], constants)


def unknown_operator(path: Path) -> None:
    """As one of a library of custom operators; none is loaded because a file asks for it."""
    node = helper.make_node("Run", ["x"], ["y"], domain="com.example", library="/tmp/evil.so")
    save(path, [node], [], [helper.make_opsetid("com.example", 1)])


def save(path: Path, nodes, initializers, opsets=()) -> None:
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        nodes,
        "g",
        [value("x", TensorProto.FLOAT, ["n", 2])],
        [value("y", TensorProto.FLOAT, ["n", 2])],
        initializers,
    )
    model = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", 20), *opsets], ir_version=10
    )
    onnx.save_model(model, str(path))


@pytest.mark.parametrize(
    "make",
    [
        *(truncated, zipped, pickled, empty, length_beyond_the_end),
        *(absurd_size, unknown_operator, nested),
    ],
    ids=lambda make: make.__name__,
)
def test_files_that_are_no_model_are_refused_with_one_sentence(tmp_path, make):
    path = tmp_path / "m.onnx"
    make(path)
    with pytest.raises(OnnxFlavorError) as raised:
        mlflow_onnx_flavor.convert(str(path), ROWS)
    assert "m.onnx" in str(raised.value) or "model" in str(raised.value)
    assert "Traceback" not in str(raised.value)


def test_a_graph_that_loops_without_end_is_stopped(tmp_path):
    endless_loop(tmp_path / "m.onnx")
    limits = Configuration(conversion=ConversionOptions(timeout_seconds=3))
    with pytest.raises(OnnxFlavorError, match=r"3 s"):
        mlflow_onnx_flavor.convert(str(tmp_path / "m.onnx"), ROWS, configuration=limits)


def test_a_bare_file_is_no_release(tmp_path):
    with pytest.raises(MissingSignatureError, match="is a bare file.*log it with"):
        prepare_source(str(doubling(tmp_path / "m.onnx")), ROWS)


class Evil:
    def __reduce__(self):
        return exec, ("import pathlib; pathlib.Path('ran').touch()",)


SCANNED = Configuration(scan_source=True)


@pytest.mark.parametrize("protocol", [0, 5])
def test_a_pickle_that_would_run_code_is_refused_before_it_does(
    classifier_folder, frame, tmp_path, monkeypatch, protocol
):
    model = Path(shutil.copytree(classifier_folder, tmp_path / "model"))
    (model / "model.pkl").write_bytes(pickle.dumps(Evil(), protocol))
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UnsafeModelError, match=r"'model.pkl' would call \w+.exec"):
        mlflow_onnx_flavor.convert(str(model), frame, configuration=SCANNED)
    with pytest.raises(UnsafeModelError, match=r"'model.pkl' would call \w+.exec"):
        prepare_source(str(model), frame, SCANNED)
    assert not (tmp_path / "ran").exists()
    with pytest.raises(OnnxFlavorError):
        mlflow_onnx_flavor.convert(str(model), frame)
    assert (tmp_path / "ran").exists()


def test_a_pickle_that_is_cut_off_is_refused_by_the_scan(classifier_folder, frame, tmp_path):
    model = Path(shutil.copytree(classifier_folder, tmp_path / "model"))
    content = (model / "model.pkl").read_bytes()
    (model / "model.pkl").write_bytes(content[: len(content) // 2])
    with pytest.raises(UnsafeModelError, match="'model.pkl' is a pickle that cannot be read"):
        prepare_source(str(model), frame, SCANNED)


def test_a_pickle_that_harms_nothing_passes_the_scan(classifier_folder, frame):
    assert prepare_source(str(classifier_folder), frame, SCANNED).source.framework == "sklearn"


@pytest.mark.parametrize("verb", ["convert", "release"])
def test_every_verb_that_loads_a_source_scans_it_where_asked(
    verb, classifier_folder, frame, store, tmp_path, capsys
):
    model = Path(shutil.copytree(classifier_folder, tmp_path / "model"))
    (model / "model.pkl").write_bytes(pickle.dumps(Evil()))
    frame.to_parquet(tmp_path / "rows.parquet")
    words = [verb, str(model), "--scan-source", "--quiet"]
    words += ["--data", str(tmp_path / "rows.parquet")]
    words += {
        "convert": ["--output", str(tmp_path / "out")],
        "release": ["--registered-model", "evil"],
    }.get(verb, [])
    assert main(words) == 1
    assert "'model.pkl' would call" in capsys.readouterr().err
