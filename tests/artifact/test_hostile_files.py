"""What belongs to no model, and every change of a name, its kind or its bytes."""

from __future__ import annotations

import os
import py_compile
import shutil
import socket
import sys
from pathlib import Path

import mlflow
import numpy as np
import pytest
import yaml

import mlflow_onnx_flavor
from mlflow_onnx_flavor import flavor, scoring
from mlflow_onnx_flavor.artifact.digests import check_digest, digest_of, digest_of_tree, manifest_of
from mlflow_onnx_flavor.errors import ConfigurationError, CorruptModelError, DigestMismatchError
from mlflow_onnx_flavor.pipeline.check_latency import champion_folder
from mlflow_onnx_flavor.schemas.records import CandidatesRecord
from tests.onnx_graphs import doubling

ROWS = np.ones((4, 2), np.float32)
# Of the folder that `clean` makes, as versions before wrote it to the registry.
KNOWN_DIGEST = "sha256:9cee994624313580e304e190b12a154490cf032d6d291f0447c32a2b4b602d71"


@pytest.fixture
def folder(tmp_path) -> Path:
    path = tmp_path / "model"
    flavor.save_model(str(doubling(tmp_path / "m.onnx")), str(path), input_example=ROWS)
    return path


@pytest.fixture
def clean(tmp_path) -> Path:
    path = tmp_path / "clean"
    (path / "code" / "own").mkdir(parents=True)
    (path / "MLmodel").write_text("flavors: {}\n")
    (path / "code" / "own" / "b.py").write_text("B = 1\n")
    (path / "code" / "a-b.txt").write_text("")
    (path / "registered_model_meta").write_text("written by MLflow")
    return path


def shipped(folder: Path) -> Path:
    (found,) = (folder / "code").glob("mlflow_onnx_scoring_*")
    return found


def marking(file: Path, marker: Path) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(f"import pathlib\npathlib.Path({str(marker)!r}).touch()\n")
    return file


def cache_of_python(folder: Path, marker: Path) -> str:
    """Run in the place of the source beside it, whose time and size it names."""
    source = marking(folder.parent / "evil.py", marker)
    target = shipped(folder) / "__pycache__" / f"__init__.{sys.implementation.cache_tag}.pyc"
    py_compile.compile(
        str(source), str(target), invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH
    )
    return "__pycache__"


def linked_folder(folder: Path, marker: Path) -> str:
    elsewhere = folder.parent / "elsewhere"
    marking(elsewhere / "__init__.py", marker)
    (folder / "code" / "onnxruntime").symlink_to(elsewhere, target_is_directory=True)
    return "code/onnxruntime"


def linked_file(folder: Path, marker: Path) -> str:
    elsewhere = marking(folder.parent / "elsewhere.py", marker)
    (folder / "code" / "extra.py").symlink_to(elsewhere)
    return "code/extra.py"


def linked_graph(folder: Path, marker: Path) -> str:
    (folder / "model.onnx").rename(folder.parent / "moved.onnx")
    (folder / "model.onnx").symlink_to(folder.parent / "moved.onnx")
    return "model.onnx"


def dangling_link(folder: Path, marker: Path) -> str:
    (folder / "code" / "gone").symlink_to(folder / "nowhere")
    return "code/gone"


def pipe(folder: Path, marker: Path) -> str:
    os.mkfifo(folder / "pipe")
    return "pipe"


def unix_socket(folder: Path, marker: Path) -> str:
    here = os.getcwd()
    os.chdir(folder)  # the path of a socket has 108 characters at most
    try:
        with socket.socket(socket.AF_UNIX) as made:
            made.bind("s")
    finally:
        os.chdir(here)
    return "s"


def line_break(folder: Path, marker: Path) -> str:
    (folder / "a\nb").write_text("")
    return r"a\nb"


FOREIGN = [
    *(cache_of_python, linked_folder, linked_file, linked_graph, dangling_link),
    *(pipe, unix_socket, line_break),
]


@pytest.mark.parametrize("plant", FOREIGN, ids=lambda plant: plant.__name__)
def test_what_belongs_to_no_model_is_refused_and_named(folder, tmp_path, plant):
    digest, manifest = digest_of(folder), manifest_of(folder)
    named = plant(folder, tmp_path / "ran").replace("\\", r"\\")
    sentence = f"'[^']*{named}' in .*belongs to no model; remove it"
    with pytest.raises(ValueError, match=sentence):
        digest_of(folder)
    with pytest.raises(DigestMismatchError, match=sentence):
        check_digest(folder, digest, "the version", manifest)
    for open_it in (
        mlflow_onnx_flavor.load_session,
        mlflow_onnx_flavor.load_model,
        lambda model: mlflow_onnx_flavor.load_pyfunc(model, digest=digest),
        lambda model: mlflow_onnx_flavor.convert(model, ROWS),
        lambda model: mlflow_onnx_flavor.check_parity(str(tmp_path / "m.onnx"), model, ROWS),
        lambda model: champion_folder(model, NONE_BUILT),
    ):
        with pytest.raises(CorruptModelError, match=sentence):
            open_it(str(folder))
    with pytest.raises(ValueError, match="belongs to no model"):
        scoring.load_session(str(folder), {"digest": digest})
    assert not (tmp_path / "ran").exists()


NONE_BUILT = CandidatesRecord(
    run_id="1", source_run_id="2", convert_run_id="3", candidates=(), skipped=()
)


def test_a_digest_covers_names_and_folders_that_hold_nothing(clean):
    before = digest_of(clean)
    (clean / "code" / "empty").mkdir()
    with pytest.raises(DigestMismatchError, match="'code/empty/' was added"):
        check_digest(clean, before, "it", {"MLmodel": ("0", 0)})
    (clean / "code" / "empty").rmdir()
    nested = clean / "code" / "registered_model_meta"
    nested.write_text("not what MLflow writes")
    assert digest_of(clean) != before
    nested.unlink()
    assert digest_of(clean) == before


def test_the_digest_of_a_clean_artifact_is_what_it_was(clean):
    """Versions that were registered before must verify."""
    assert digest_of(clean) == KNOWN_DIGEST == digest_of_tree(clean)


def test_data_and_sources_may_hold_links_and_caches(clean, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "rows.txt").write_text("1")
    (clean / "linked").symlink_to(tmp_path / "elsewhere", target_is_directory=True)
    (clean / "linked-to-itself").symlink_to(clean, target_is_directory=True)
    (clean / "code" / "__pycache__").mkdir()
    (clean / "code" / "__pycache__" / "a.pyc").write_bytes(b"1")
    before = digest_of_tree(clean)
    (clean / "code" / "__pycache__" / "a.pyc").write_bytes(b"2")
    assert digest_of_tree(clean) == before
    (tmp_path / "elsewhere" / "rows.txt").write_text("2")
    assert digest_of_tree(clean) != before


@pytest.mark.parametrize("name", ["opening.so", "opening/__init__.py", "notes.txt"])
def test_scoring_code_has_nothing_beside_its_source(folder, tmp_path, name):
    """Python would import a library, or a folder, before the source of the same name."""
    marking(shipped(folder) / name, tmp_path / "ran")
    with pytest.raises(
        CorruptModelError, match=f"has '{name.partition('/')[0]}' beside its source"
    ):
        mlflow_onnx_flavor.load_session(str(folder))
    assert not (tmp_path / "ran").exists()


def test_an_artifact_is_of_no_source_framework_as_well(folder):
    """Whoever opens it would load its pickle."""
    file = folder / "MLmodel"
    written = yaml.safe_load(file.read_text())
    written["flavors"]["sklearn"] = {"pickled_model": "model.pkl"}
    file.write_text(yaml.safe_dump(written))
    for open_it in (
        mlflow_onnx_flavor.load_session,
        mlflow_onnx_flavor.load_model,
        lambda model: mlflow_onnx_flavor.check_latency(str(folder.parent / "m.onnx"), model, ROWS),
    ):
        with pytest.raises(CorruptModelError, match="is no ONNX artifact.*'sklearn'"):
            open_it(str(folder))


def test_loading_from_where_it_lies_leaves_an_artifact_as_it_was(folder, monkeypatch):
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    before = digest_of(folder)
    loaded = mlflow.pyfunc.load_model(str(folder))
    np.testing.assert_array_equal(loaded.predict(ROWS)["y"], 2 * ROWS)
    assert digest_of(folder) == before
    assert not sys.dont_write_bytecode


def test_load_pyfunc_answers_as_mlflow_does(folder):
    loaded = mlflow_onnx_flavor.load_pyfunc(str(folder), digest=digest_of(folder))
    assert isinstance(loaded, mlflow.pyfunc.PyFuncModel)
    np.testing.assert_array_equal(loaded.predict(ROWS)["y"], 2 * ROWS)


@pytest.mark.parametrize("changed", ["shipped", "added", "graph"])
def test_load_pyfunc_runs_nothing_of_an_artifact_with_another_digest(folder, tmp_path, changed):
    digest = digest_of(folder)
    if changed == "graph":
        shutil.copyfile(doubling(tmp_path / "other.onnx"), folder / "model.onnx")
        with (folder / "model.onnx").open("ab") as file:
            file.write(b"\0")
    else:
        place = shipped(folder) if changed == "shipped" else folder / "code"
        marking(place / {"shipped": "__init__.py", "added": "own.py"}[changed], tmp_path / "ran")
    with pytest.raises(DigestMismatchError, match=f"expected {digest}"):
        mlflow_onnx_flavor.load_pyfunc(str(folder), digest=digest)
    assert not (tmp_path / "ran").exists()


def test_load_pyfunc_wants_to_be_told_which_bytes(folder, tmp_path):
    with pytest.raises(ConfigurationError, match="give its digest, or the URI of a registered"):
        mlflow_onnx_flavor.load_pyfunc(str(folder))
    with pytest.raises(CorruptModelError, match="is a bare file"):
        mlflow_onnx_flavor.load_pyfunc(str(tmp_path / "m.onnx"), digest="sha256:0")
