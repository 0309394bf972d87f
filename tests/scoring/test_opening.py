"""Opening: providers in the order asked for, options checked, no silent fallback."""

from __future__ import annotations

import logging
import sys

import numpy as np
import onnxruntime as ort
import pytest

from mlflow_onnx_flavor import flavor, scoring
from mlflow_onnx_flavor.scoring import opening, providers
from mlflow_onnx_flavor.scoring.providers import CPU, Plugin
from tests.onnx_graphs import doubling

OPENVINO = "OpenVINOExecutionProvider"
ABSENT = "CUDAExecutionProvider"


@pytest.fixture(scope="module")
def graph(tmp_path_factory):
    return str(doubling(tmp_path_factory.mktemp("graph") / "m.onnx"))


@pytest.fixture
def plugin(monkeypatch):
    """Makes ``name`` a plug-in that ``module`` brings."""

    def make(name, module, source=None, tmp_path=None):
        if source is not None:
            (tmp_path / f"{module}.py").write_text(source)
            monkeypatch.syspath_prepend(tmp_path)
            monkeypatch.delitem(sys.modules, module, raising=False)
        monkeypatch.setitem(providers.PLUGINS, name, Plugin(name, module, f"pip-{module}"))

    return make


def openvino_devices() -> list:
    if OPENVINO not in scoring.available_providers():
        return []
    providers.register(OPENVINO)
    return providers.devices_of(OPENVINO)


def opened(graph, *names, **config):
    return scoring.load_session(graph, {"execution_providers": list(names), **config})


def answers(session) -> bool:
    return session.run(np.ones((2, 2), np.float32))["y"].tolist() == [[2, 2], [2, 2]]


def test_session_options_of_a_provider_hold_on_it_alone(tmp_path):
    """The options of the first stand over the model's, and are gone with another provider."""
    entry = {"name": CPU, "session_options": {"intra_op_num_threads": 2}}
    flavor.save_model(
        doubling(tmp_path / "m.onnx"),
        tmp_path / "model",
        execution_providers=[entry],
        session_options={"intra_op_num_threads": 3, "log_severity_level": 3},
    )

    def threads(**config):
        session = scoring.load_session(str(tmp_path / "model"), config).session
        options = session.get_session_options()
        assert options.log_severity_level == 3
        return options.intra_op_num_threads

    assert threads() == 2
    assert threads(execution_providers=[CPU]) == 3
    other = {"name": CPU, "session_options": {"intra_op_num_threads": 1}}
    assert threads(execution_providers=[other]) == 1
    assert threads(execution_providers=[other], session_options={"intra_op_num_threads": 4}) == 4


def test_a_provider_brings_no_library_of_operators(graph):
    entry = {"name": CPU, "session_options": {"custom_operator_libraries": ["/tmp/evil.so"]}}
    with pytest.raises(ValueError, match="name it in the session options of the model"):
        opened(graph, entry)


def test_what_can_be_asked_for_is_listed():
    found = scoring.available_providers()
    assert CPU in found and "AzureExecutionProvider" not in found


def test_a_provider_that_is_not_here_is_refused_with_what_is(graph):
    with pytest.raises(scoring.ExecutionProviderUnavailable) as refused:
        opened(graph, ABSENT)
    assert refused.value.provider == ABSENT
    assert f"available: {CPU}" in str(refused.value)
    assert str(refused.value).endswith("pip install onnxruntime-gpu")


def test_a_provider_behind_one_that_takes_all_must_be_here_too(graph):
    with pytest.raises(scoring.ExecutionProviderUnavailable, match=ABSENT):
        opened(graph, CPU, ABSENT)


def test_fallback_leaves_out_what_does_not_start_and_says_so(graph, caplog):
    with caplog.at_level(logging.WARNING):
        session = opened(graph, ABSENT, {"name": CPU}, fallback="allow")
    assert answers(session) and session.session.get_providers() == [CPU]
    assert f"'{ABSENT}' is not available here" in caplog.text
    assert f"going on with {CPU}" in caplog.text


def test_fallback_goes_to_the_cpu_where_nothing_remains(graph):
    assert answers(opened(graph, ABSENT, fallback="allow"))


def test_an_unknown_fallback_is_refused(graph):
    with pytest.raises(ValueError, match="must be 'strict' or 'allow', not 'maybe'"):
        opened(graph, CPU, fallback="maybe")


def test_a_provider_is_reached_through_its_devices(graph, plugin):
    """As plug-ins are.  The CPU has a device on every machine, and needs no library."""
    plugin(CPU, "onnxruntime")
    session = opened(graph, CPU, record_placement=True)
    assert answers(session) and session.placement() == {CPU: 1}


def test_a_plugin_without_a_device_is_refused(graph, plugin):
    if OPENVINO not in scoring.available_providers():
        pytest.skip("no plug-in is installed")
    if openvino_devices():
        pytest.skip("OpenVINO supports a device of this machine")
    with pytest.raises(scoring.ExecutionProviderUnavailable, match="supports no device of this"):
        opened(graph, OPENVINO)
    assert answers(opened(graph, OPENVINO, fallback="allow"))


@pytest.mark.skipif(not openvino_devices(), reason="OpenVINO supports no device of this machine")
def test_openvino_runs_the_graph(graph):
    session = opened(graph, OPENVINO, CPU, record_placement=True)
    assert answers(session) and session.placement() == {OPENVINO: 1}


def test_a_plugin_whose_library_does_not_load_is_refused(graph, plugin, tmp_path):
    source = "def get_library_path():\n    return '/nowhere/libplugin.so'\n"
    plugin("BrokenExecutionProvider", "broken_plugin", source, tmp_path)
    assert "BrokenExecutionProvider" in scoring.available_providers()
    with pytest.raises(scoring.ExecutionProviderUnavailable, match="its library does not load"):
        opened(graph, "BrokenExecutionProvider")
    assert answers(opened(graph, "BrokenExecutionProvider", fallback="allow"))


def test_a_plugin_registered_before_is_taken_as_it_is(plugin):
    if OPENVINO not in scoring.available_providers():
        pytest.skip("no plug-in is installed")
    providers.register(OPENVINO)
    providers.register(OPENVINO)


def test_a_file_that_cannot_be_read_is_not_blamed_on_the_provider(tmp_path, plugin):
    plugin(CPU, "onnxruntime")
    bad = tmp_path / "bad.onnx"
    bad.write_bytes(b"this is not a model")
    for path in (bad, tmp_path / "missing.onnx"):
        with pytest.raises(Exception) as raised:
            scoring.load_session(str(path), {"execution_providers": [CPU]})
        assert not isinstance(raised.value, scoring.ExecutionProviderUnavailable)


def test_session_options_reach_onnxruntime(graph):
    session = opened(
        graph,
        CPU,
        session_options={
            "intra_op_num_threads": 1,
            "graph_optimization_level": "ORT_DISABLE_ALL",
            "execution_mode": "sequential",
            "use_deterministic_compute": True,
            "config_entries": {
                "session.force_spinning_stop": 1,
                "session.intra_op.allow_spinning": False,
            },
        },
    )
    options = session.session.get_session_options()
    assert options.intra_op_num_threads == 1
    assert options.graph_optimization_level == ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    assert options.execution_mode == ort.ExecutionMode.ORT_SEQUENTIAL
    assert options.get_session_config_entry("session.force_spinning_stop") == "1"
    assert options.get_session_config_entry("session.intra_op.allow_spinning") == "0"
    assert options.use_deterministic_compute


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"threads": 1}, "SessionOptions has no 'threads'"),
        ({"add_provider": 1}, "SessionOptions has no 'add_provider'"),
        ({"intra_op_num_threads": "two"}, "intra_op_num_threads cannot be 'two'"),
        ({"graph_optimization_level": "most"}, "graph_optimization_level cannot be 'most'"),
        ({"execution_mode": 7}, "execution_mode cannot be 7"),
    ],
)
def test_a_wrong_session_option_is_named(graph, settings, sentence):
    with pytest.raises(ValueError, match=sentence):
        opened(graph, CPU, session_options=settings)


def test_an_unknown_key_of_the_configuration_is_named(graph):
    with pytest.raises(ValueError, match="unknown model_config key 'provider'; expected"):
        scoring.load_session(graph, {"provider": CPU})


def test_options_of_a_provider_stand_under_those_it_is_given(graph, monkeypatch):
    """Onnxruntime's CPU takes no options, so what would be handed to it is looked at."""
    handed = []
    add = opening.add_providers

    def seen(options, requested):
        handed.append([(each["name"], each["options"]) for each in requested])
        return add(options, [{"name": each["name"]} for each in requested])

    monkeypatch.setattr(opening, "add_providers", seen)
    tuned = {"provider_options": {CPU: {"a": "tuned", "b": "tuned"}, ABSENT: {"c": "tuned"}}}
    given = {"name": CPU, "options": {"b": "given"}}
    scoring.load_session(graph, {"execution_providers": [given], "session_options": tuned})
    scoring.load_session(graph, {"execution_providers": [CPU]})
    assert handed == [[(CPU, {"a": "tuned", "b": "given"})], [(CPU, {})]]


def test_placement_says_where_the_nodes_ran(graph):
    assert opened(graph, CPU, record_placement=True).placement() == {CPU: 1}
