"""Session options that would write or read files or load code are refused wherever they come in."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import mlflow
import numpy as np
import onnx
import pytest
import yaml

import mlflow_onnx_flavor
from mlflow_onnx_flavor import flavor, scoring
from mlflow_onnx_flavor.configuration_file import parse_configuration
from mlflow_onnx_flavor.errors import ConfigurationError, CorruptModelError
from mlflow_onnx_flavor.latency.settings import settings_to_try
from mlflow_onnx_flavor.scoring import entry as entry_module
from tests.onnx_graphs import doubling

ROWS = np.ones((4, 2), np.float32)
CPU = "CPUExecutionProvider"


def writing(place: Path) -> list[dict]:
    """Session options each of which would touch ``place``, or load what lies there."""
    file = str(place / "written")
    return [
        {"optimized_model_filepath": file},
        {"enable_profiling": True, "profile_file_prefix": file},
        {"enable_profiling": True},
        {"config_entries": {"session.optimized_model_filepath": file}},
        {"config_entries": {"session.collect_node_memory_stats_to_file": file}},
        {"config_entries": {"session.node_partition_config_file": file}},
        {"config_entries": {"session.moe_expert_counter_state_file": file}},
        {"config_entries": {"ep.context_enable": "1", "ep.context_file_path": file}},
        {"config_entries": {"session.optimized_model_external_initializers_file_name": file}},
        {"config_entries": {"session.some_later_option": file}},
    ]


OPTIONS = writing(Path("PLACE"))
NAMES = [json.dumps(each)[:60] for each in OPTIONS]


def in_place(options: dict, place: Path) -> dict:
    return json.loads(json.dumps(options).replace("PLACE", str(place)))


@pytest.fixture
def folder(tmp_path) -> Path:
    path = tmp_path / "model"
    flavor.save_model(str(doubling(tmp_path / "m.onnx")), str(path), input_example=ROWS)
    return path


def rewritten(folder: Path, change) -> Path:
    file = folder / "MLmodel"
    written = yaml.safe_load(file.read_text())
    change(written["flavors"])
    file.write_text(yaml.safe_dump(written))
    return folder


def files_of(place: Path) -> list[str]:
    return sorted(each.name for each in place.rglob("*"))


@pytest.fixture
def place(tmp_path, monkeypatch) -> Path:
    """Where files would be written, and the working directory."""
    path = tmp_path / "place"
    path.mkdir()
    monkeypatch.chdir(path)
    return path


@pytest.mark.parametrize("options", OPTIONS, ids=NAMES)
def test_an_artifact_cannot_have_files_written(folder, place, options, monkeypatch):
    options = in_place(options, place)
    rewritten(folder, lambda flavors: flavors["mlflow_onnx_flavor"].update(session_options=options))
    monkeypatch.setattr(sys, "path", list(sys.path))
    for opened in (mlflow_onnx_flavor.load_session, mlflow_onnx_flavor.load_model):
        with pytest.raises(CorruptModelError, match="refused.*log the model again"):
            opened(str(folder))
    for opened in (scoring.load_session, mlflow.pyfunc.load_model):  # the shipped code by itself
        with pytest.raises(ValueError, match="is refused"):
            opened(str(folder))
    assert files_of(place) == []


@pytest.mark.parametrize("verb", ["convert", "parity", "latency"])
def test_no_verb_opens_it(folder, place, tmp_path, verb):
    options = in_place(OPTIONS[0], place)
    rewritten(folder, lambda flavors: flavors["mlflow_onnx_flavor"].update(session_options=options))
    good = str(tmp_path / "m.onnx")
    with pytest.raises(CorruptModelError, match="'optimized_model_filepath' is refused"):
        if verb == "convert":
            mlflow_onnx_flavor.convert(str(folder), ROWS)
        elif verb == "parity":
            mlflow_onnx_flavor.check_parity(good, str(folder), ROWS)
        else:
            mlflow_onnx_flavor.check_latency(good, str(folder), ROWS)
    assert files_of(place) == []


@pytest.mark.parametrize("options", OPTIONS, ids=NAMES)
def test_nobody_else_can_either(folder, place, options, monkeypatch):
    options = in_place(options, place)
    provider = {"name": CPU, "session_options": options}
    for config in ({"session_options": options}, {"execution_providers": [provider]}):
        with pytest.raises(ValueError, match="is refused"):
            scoring.load_session(str(folder), config)
    with pytest.raises(ConfigurationError, match="is refused"):
        parse_configuration({"execution_providers": [provider]})
    with pytest.raises(ConfigurationError, match="is refused"):
        flavor.save_model(
            str(doubling(place.parent / "o.onnx")), str(place.parent / "o"), session_options=options
        )
    with pytest.raises(ConfigurationError, match="is refused"):
        flavor.save_model(
            str(doubling(place.parent / "o.onnx")),
            str(place.parent / "o"),
            execution_providers=[provider],
        )
    monkeypatch.setenv("MLFLOW_ONNX_SESSION_OPTIONS", json.dumps(options))
    with pytest.raises(ValueError, match="MLFLOW_ONNX_SESSION_OPTIONS makes no sense.* is refused"):
        scoring.load_session(str(folder))
    assert files_of(place) == []


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"intra_op_num_threads": 1 << 40}, "expected a whole number from 0 to 4096"),
        ({"intra_op_num_threads": -1}, "expected a whole number"),
        ({"intra_op_num_threads": True}, "expected a whole number"),
        ({"intra_op_num_threads": float("nan")}, "expected a whole number"),
        ({"enable_mem_pattern": "yes"}, "expected true or false"),
        ({"logid": "x" * 101}, "expected a short name"),
        ({"config_entries": {"session.intra_op.allow_spinning": "2"}}, "expected 0 or 1"),
        ({"config_entries": {"session.dynamic_block_base": "1e999"}}, "expected a whole number"),
        ({"config_entries": {"session.intra_op_thread_affinities": "/etc"}}, "processors"),
        ({"config_entries": {"session.disable_prepacking": [1]}}, "expected text"),
    ],
    ids=str,
)
def test_a_value_out_of_its_range_is_named(folder, options, sentence):
    with pytest.raises(ValueError, match=sentence):
        scoring.load_session(str(folder), {"session_options": options})


@pytest.mark.parametrize(
    "change",
    [
        {"execution_providers": [{"name": CPU, "options": {"trt_engine_cache_path": "/tmp"}}]},
        {"execution_providers": [{"name": "Own", "options": {"a": "1"}}]},
        {"session_options": {"provider_options": {"QNN": {"backend_path": "/tmp/evil.so"}}}},
        {
            "execution_providers": [
                {"name": "OpenVINOExecutionProvider", "options": {"cache_dir": "/tmp"}}
            ]
        },
        {
            "execution_providers": [
                {
                    "name": "OpenVINOExecutionProvider",
                    "options": {"load_config": '{"CPU": {"CACHE_DIR": "/tmp"}}'},
                }
            ]
        },
        {
            "execution_providers": [
                {"name": "OpenVINOExecutionProvider", "options": {"load_config": "/tmp/c.json"}}
            ]
        },
        {
            "execution_providers": [
                {"name": CPU, "session_options": {"custom_operator_libraries": ["/tmp/evil.so"]}}
            ]
        },
        {"session_options": {"custom_operator_libraries": ["/tmp/evil.so"]}},
        {"data": "../m.onnx"},
        {"data": "/etc/passwd"},
        {"data": 5},
    ],
    ids=str,
)
def test_an_artifact_names_no_library_no_cache_and_no_file_elsewhere(folder, change):
    rewritten(folder, lambda flavors: flavors["mlflow_onnx_flavor"].update(change))
    for opened in (mlflow_onnx_flavor.load_session, mlflow_onnx_flavor.load_model):
        with pytest.raises(CorruptModelError):
            opened(str(folder))
    with pytest.raises(ValueError, match="the model is loaded|session option|data in|the file"):
        scoring.load_session(str(folder), {"execution_providers": [CPU]})


def test_an_artifact_has_no_configuration_of_its_own(folder, place, monkeypatch):
    """MLflow would hand it on as if whoever loads the model had said it."""
    config = {"cache_folder": str(place)}
    rewritten(folder, lambda flavors: flavors["python_function"].update(config=config))
    monkeypatch.setattr(sys, "path", list(sys.path))
    with pytest.raises(CorruptModelError, match="config of its own .cache_folder"):
        mlflow_onnx_flavor.load_session(str(folder))
    with pytest.raises(ValueError, match="config of its own .cache_folder"):
        mlflow.pyfunc.load_model(str(folder))
    assert files_of(place) == []


@pytest.mark.parametrize(
    "entry",
    [
        {"onnx_session_options": {"extra_session_config": {"ep.context_file_path": "/tmp/x"}}},
        {"onnx_session_options": {"optimized_model_filepath": "/tmp/x"}},
        {"providers": [["TensorrtExecutionProvider", {"trt_extra_plugin_lib_paths": "/tmp/x.so"}]]},
    ],
    ids=str,
)
def test_nor_does_a_model_of_the_built_in_flavor(tmp_path, entry):
    path = tmp_path / "built_in"
    model = onnx.load(str(doubling(tmp_path / "m.onnx")))
    mlflow.onnx.save_model(model, str(path), input_example=ROWS, pip_requirements=[])
    assert mlflow_onnx_flavor.load_session(str(path)).run(ROWS)
    rewritten(path, lambda flavors: flavors["onnx"].update(entry))
    with pytest.raises(CorruptModelError, match="refused|no model may carry|none that a model"):
        mlflow_onnx_flavor.convert(str(path), ROWS)


def test_what_tuning_tries_may_be_kept_in_an_artifact():
    for provider in (CPU, "OpenVINOExecutionProvider", "CUDAExecutionProvider"):
        for options in settings_to_try(4, provider):
            entry_module.check_session_options(options)
