"""Graphs as text and back, on a sample of ONNX's own node cases; the benchmark has all of them."""

from __future__ import annotations

import shutil
import warnings
from functools import cache

import numpy as np
import onnx
import pytest

from mlflow_onnx_flavor import targets
from mlflow_onnx_flavor.errors import (
    ConfigurationError,
    CorruptModelError,
    ModelNotFoundError,
    UnsupportedModelError,
)
from mlflow_onnx_flavor.pipeline.export import import_graph
from mlflow_onnx_flavor.targets.base import Request
from tests import onnx_graphs

FORMS = ("json", "text", "textproto")
LOSSLESS = tuple(name for name in FORMS if targets.get(name).lossless)
# One in so many of the node cases.
SAMPLED = 40


@cache
def node_cases():
    """A sample of the models that onnx tests its operators with."""
    from onnx.backend.test.case.node import collect_testcases

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return tuple(case.model for case in collect_testcases(None))[::SAMPLED]


def written(name, model, folder):
    """The file that the target ``name`` writes for the ONNX file ``model``."""
    folder.mkdir()
    targets.get(name).write(Request(model), folder)
    return next(folder.glob(f"model{targets.get(name).suffixes[0]}"))


def test_json_and_textproto_are_lossless_and_text_is_not():
    assert LOSSLESS == ("json", "textproto")


@pytest.mark.parametrize("name", LOSSLESS)
def test_node_cases_come_back_to_the_byte(name):
    target = targets.get(name)
    assert len(node_cases()) > 40
    for model in node_cases():
        back = target.from_text(target.to_text(model))
        assert back.SerializeToString() == model.SerializeToString(), model.graph.name


@pytest.mark.parametrize("name", FORMS)
def test_a_graph_comes_back_as_it_was(tmp_path, name):
    model = onnx_graphs.doubling(tmp_path / "graph.onnx")
    text = written(name, model, tmp_path / "out")
    back = import_graph(text, tmp_path / "back" / "model.onnx")
    if name in LOSSLESS:
        assert back.read_bytes() == model.read_bytes()
    run = targets.get(name).load(tmp_path / "out")
    rows = np.arange(6, dtype=np.float32).reshape(3, 2)
    np.testing.assert_array_equal(run({"x": rows})["y"], 2 * rows)


@pytest.mark.parametrize("name", FORMS)
def test_external_data_lies_beside_the_text_and_never_inside(tmp_path, name):
    model = onnx_graphs.adding_weights(
        tmp_path / "graph.onnx", save_as_external_data=True, location="w.bin"
    )
    text = written(name, model, tmp_path / "out")
    assert text.stat().st_size < 4096 < (tmp_path / "out" / "w.bin").stat().st_size
    assert (tmp_path / "out" / "w.bin").read_bytes() == (tmp_path / "w.bin").read_bytes()
    back = import_graph(text, tmp_path / "back" / "model.onnx")
    assert (tmp_path / "back" / "w.bin").read_bytes() == (tmp_path / "w.bin").read_bytes()
    onnx.checker.check_model(str(back))
    (tmp_path / "out" / "w.bin").unlink()
    with pytest.raises(CorruptModelError, match="not beside it"):
        import_graph(text, tmp_path / "again" / "model.onnx")
    assert not (tmp_path / "again").exists()


def test_text_of_another_form_is_refused_in_a_sentence(tmp_path):
    for name in ("model.json", "model.textproto", "model.onnxtxt"):
        file = tmp_path / name
        file.write_text("no graph at all {")
        with pytest.raises(UnsupportedModelError, match=f"'{name}' is no"):
            import_graph(file, tmp_path / "model.onnx")
    (tmp_path / "empty.textproto").write_text("")
    with pytest.raises(UnsupportedModelError, match="holds no graph"):
        import_graph(tmp_path / "empty.textproto", tmp_path / "model.onnx")
    assert not (tmp_path / "model.onnx").exists()


def test_an_import_overwrites_nothing_and_knows_its_endings(tmp_path):
    model = onnx_graphs.doubling(tmp_path / "graph.onnx")
    text = written("json", model, tmp_path / "out")
    with pytest.raises(ConfigurationError, match="exists already"):
        import_graph(text, model)
    with pytest.raises(ModelNotFoundError, match="no file"):
        import_graph(tmp_path / "missing.json", tmp_path / "model.onnx")
    shutil.copy(text, tmp_path / "graph.yaml")
    with pytest.raises(ConfigurationError, match=r"'\.yaml'.*known: \.json"):
        import_graph(tmp_path / "graph.yaml", tmp_path / "model.onnx")
