"""A configuration that makes no sense is one sentence that names what is wrong."""

from __future__ import annotations

import numpy as np
import pytest

from mlflow_onnx_flavor import scoring
from tests.onnx_graphs import doubling

CPU = "CPUExecutionProvider"
LIBRARIES = "custom_operator_libraries"


@pytest.fixture
def graph(tmp_path):
    return str(doubling(tmp_path / "m.onnx"))


@pytest.mark.parametrize(
    ("config", "sentence"),
    [
        ("x", "model_config must be a dictionary, not 'x'"),
        ({"execution_providers": 5}, "execution_providers must be a list of names, not 5"),
        ({"execution_providers": [5]}, "an execution provider is a name.*not 5"),
        ({"execution_providers": [{"options": {}}]}, "an execution provider is a name"),
        ({"execution_providers": [{"name": CPU, "option": {}}]}, "unknown key 'option' of 'CPUE"),
        ({"execution_providers": [{"name": CPU, "options": "x"}]}, "options of .* a dictionary"),
        ({"session_options": "x"}, "session_options must be a dictionary, not 'x'"),
        (
            {"session_options": {"config_entries": "x"}},
            r"\['config_entries'\] must be a dictionary",
        ),
        ({"session_options": {"provider_options": [1]}}, r"\['provider_options'\] must be a dict"),
        ({"session_options": {"provider_options": {CPU: 5}}}, "'CPUExec.* must be a dictionary"),
        ({"session_options": {LIBRARIES: 5}}, "must be a list of names, not 5"),
        ({"cache_folder": 5}, "cache_folder must be a path, not 5"),
        ({"metrics_seconds": "60"}, "metrics_seconds must be seconds, not '60'"),
        ({"metrics_seconds": -1}, "metrics_seconds must be seconds, not -1"),
        ({"metrics_seconds": float("inf")}, "metrics_seconds must be seconds, not inf"),
        ({"tracing": "no"}, "tracing must be true or false, not 'no'"),
        ({"record_placement": 1}, "record_placement must be true or false, not 1"),
    ],
    ids=str,
)
def test_what_makes_no_sense_is_named(graph, config, sentence):
    with pytest.raises(ValueError, match=sentence):
        scoring.load_session(graph, config)


@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        ("SESSION_OPTIONS", '{"config_entries": 5}', "config_entries.* must be a dictionary"),
        ("METRICS_SECONDS", "nan", "must be seconds, not nan"),
        ("METRICS_SECONDS", "-1", "must be seconds, not -1"),
    ],
)
def test_a_variable_that_makes_no_sense_is_named(graph, monkeypatch, name, value, sentence):
    monkeypatch.setenv(f"MLFLOW_ONNX_{name}", value)
    with pytest.raises(ValueError, match=f"MLFLOW_ONNX_{name} .*{sentence}"):
        scoring.load_session(graph)


@pytest.mark.parametrize(
    "config",
    [
        {"execution_providers": CPU},
        {"execution_providers": (CPU,)},
        {"execution_providers": [{"name": CPU, "options": {"arena_extend_strategy": 1}}]},
        {"session_options": {LIBRARIES: []}},
        {"session_options": {"config_entries": {"session.intra_op.allow_spinning": 0}}},
        dict.fromkeys(scoring.CONFIG_KEYS),
    ],
    ids=str,
)
def test_what_can_only_mean_one_thing_is_taken(graph, config):
    answer = scoring.load_session(graph, config).predict(np.ones((1, 2), np.float32))
    assert answer["y"].tolist() == [[2, 2]]


def test_what_is_given_stands_over_the_environment_where_it_says_no(graph, monkeypatch):
    monkeypatch.setenv("MLFLOW_ONNX_TRACING", "true")
    assert "observe" in scoring.load_session(graph).predict.__qualname__
    assert "observe" not in scoring.load_session(graph, {"tracing": False}).predict.__qualname__


def test_a_path_where_nothing_is_is_one_sentence(tmp_path):
    for path in (tmp_path, tmp_path / "no.onnx"):
        with pytest.raises(FileNotFoundError, match="neither an .onnx file nor a folder with an"):
            scoring.load_session(str(path))


@pytest.mark.parametrize("text", ["{{{", "", "a: 1"])
def test_a_damaged_mlmodel_file_is_one_sentence(tmp_path, text):
    (tmp_path / "MLmodel").write_text(text)
    with pytest.raises(ValueError, match="has an MLmodel file that names no flavors"):
        scoring.load_session(str(tmp_path))
