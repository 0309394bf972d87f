"""Execution providers as the parent process sees them: what is here, what is asked for."""

from __future__ import annotations

import importlib.metadata

import pytest

from mlflow_onnx_flavor import flavor
from mlflow_onnx_flavor.errors import ExecutionProviderError
from mlflow_onnx_flavor.machine import execution_providers
from mlflow_onnx_flavor.schemas.evidence import ExecutionProvider
from mlflow_onnx_flavor.scoring import providers

CPU = "CPUExecutionProvider"
OPENVINO = "OpenVINOExecutionProvider"
WEBGPU = "WebGpuExecutionProvider"

needs_openvino = pytest.mark.skipif(
    OPENVINO not in execution_providers.available(), reason="its package is not installed"
)


def without(monkeypatch, name: str) -> None:
    """As if the package of plug-in ``name`` were not installed."""
    absent = providers.Plugin(name, "no_such_module", providers.PLUGINS[name].package)
    monkeypatch.setitem(providers.PLUGINS, name, absent)


def test_the_cpu_is_described_with_its_package_and_device():
    cpu = next(each for each in execution_providers.describe() if each.name == CPU)
    assert (cpu.kind, cpu.package) == ("built-in", "onnxruntime")
    assert cpu.version == importlib.metadata.version("onnxruntime")
    assert cpu.devices and cpu.devices[0].startswith("CPU (")


@needs_openvino
def test_a_plugin_is_described_with_its_package():
    found = next(each for each in execution_providers.describe() if each.name == OPENVINO)
    assert (found.kind, found.package) == ("plugin", "onnxruntime-ep-openvino")
    assert found.version == importlib.metadata.version("onnxruntime-ep-openvino")


def test_a_plugin_that_does_not_start_is_described_without_devices(monkeypatch, tmp_path):
    (tmp_path / "broken_provider.py").write_text("raise ImportError('libfoo.so is missing')\n")
    monkeypatch.syspath_prepend(tmp_path)
    package = "onnxruntime"  # any that is installed
    broken = providers.Plugin("BrokenProvider", "broken_provider", package)
    monkeypatch.setitem(providers.PLUGINS, "BrokenProvider", broken)
    found = {each.name: each for each in execution_providers.describe()}
    assert found["BrokenProvider"].devices == () and found[CPU].devices


def test_what_is_here_may_be_asked_for():
    execution_providers.check_requested([ExecutionProvider(name=CPU)])


@pytest.mark.parametrize(
    ("name", "cure"),
    [
        (WEBGPU, "; pip install onnxruntime-ep-webgpu"),
        ("CUDAExecutionProvider", "; pip install onnxruntime-gpu"),
        ("NoSuchProvider", CPU),
    ],
)
def test_what_is_not_here_is_refused_with_the_cure(monkeypatch, name, cure):
    if name in providers.PLUGINS:
        without(monkeypatch, name)
    with pytest.raises(ExecutionProviderError) as refused:
        execution_providers.check_requested([ExecutionProvider(name=name)])
    assert f"'{name}' is not available here; available: {CPU}" in str(refused.value)
    assert cure in str(refused.value)


@needs_openvino
def test_a_model_for_a_plugin_requires_its_package_pinned():
    version = importlib.metadata.version("onnxruntime-ep-openvino")
    expected = f"onnxruntime-ep-openvino=={version}"
    assert execution_providers.requirement_of(OPENVINO) == expected
    assert flavor.get_default_pip_requirements([OPENVINO, CPU])[-1] == expected


def test_a_model_for_a_plugin_that_is_not_here_requires_its_package(monkeypatch):
    without(monkeypatch, WEBGPU)
    assert execution_providers.requirement_of(WEBGPU) == "onnxruntime-ep-webgpu"


def test_a_built_in_provider_requires_nothing_more():
    assert execution_providers.requirement_of(CPU) is None


@pytest.mark.parametrize(
    "provider",
    [
        CPU,
        {"name": CPU},
        {"name": CPU, "options": None},
        (CPU, {}),
        [CPU, {}],
        ExecutionProvider(name=CPU),
    ],
)
def test_every_way_to_write_a_provider_means_the_same(provider):
    assert execution_providers.as_entries([provider]) == [{"name": CPU, "options": {}}]


def test_no_provider_means_the_cpu():
    assert execution_providers.as_entries(None) == [{"name": CPU, "options": {}}]
