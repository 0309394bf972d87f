"""Execution providers: built in, or plug-ins that are registered from an installed package."""

from __future__ import annotations

import importlib
import importlib.util
import threading
from dataclasses import dataclass

import onnxruntime as ort

CPU = "CPUExecutionProvider"

# In every build, but it forwards requests to a service; never a place to run a graph.
_NOT_A_PLACE = frozenset({"AzureExecutionProvider"})


@dataclass(frozen=True)
class Plugin:
    """A plug-in provider: ``module`` has ``get_library_path()``; ``package`` installs it."""

    name: str
    module: str
    package: str


PLUGINS = {
    plugin.name: plugin
    for plugin in (
        Plugin("OpenVINOExecutionProvider", "onnxruntime_ep_openvino", "onnxruntime-ep-openvino"),
        Plugin("WebGpuExecutionProvider", "onnxruntime_ep_webgpu", "onnxruntime-ep-webgpu"),
        Plugin("ggml", "onnxruntime_ggml", "onnxruntime-ggml"),
    )
}

_registering = threading.Lock()
_registered: set[str] = set()


class ExecutionProviderUnavailable(RuntimeError):
    """A provider that was asked for is not here or did not start."""


def built_in_providers() -> list[str]:
    """The providers compiled into this onnxruntime."""
    return [name for name in ort.get_available_providers() if name not in _NOT_A_PLACE]


def installed_plugins() -> list[Plugin]:
    """The plug-ins whose package is installed; nothing is loaded."""
    return [each for each in PLUGINS.values() if importlib.util.find_spec(each.module) is not None]


def available_providers() -> list[str]:
    """Every provider that can be asked for here, built in or installed."""
    found = built_in_providers()
    return found + [each.name for each in installed_plugins() if each.name not in found]


def add_providers(options: ort.SessionOptions, requested: list[dict]) -> list:
    """Put plug-in providers into ``options``; returns those to give to `InferenceSession`.

    ``requested``: ``{"name", "options"}`` in order of preference.  Raises
    ExecutionProviderUnavailable for one that is not here.
    """
    plugins = {each.name for each in installed_plugins()}
    built_in = built_in_providers()
    remaining = []
    for provider in requested:
        name, settings = provider["name"], provider.get("options") or {}
        if name in built_in and name not in plugins:
            remaining.append((name, settings))
        elif name in plugins:
            options.add_provider_for_devices(_devices(name), settings)
        else:
            raise ExecutionProviderUnavailable(
                f"execution provider {name!r} is not available here; available:"
                f" {', '.join(available_providers())}{_how_to_install(name)}"
            )
    return remaining


def register(name: str) -> None:
    """Make the plug-in ``name`` known to onnxruntime, once a process."""
    with _registering:
        if name not in _registered and name not in {each.ep_name for each in ort.get_ep_devices()}:
            library = importlib.import_module(PLUGINS[name].module).get_library_path()
            ort.register_execution_provider_library(name, library)
        _registered.add(name)


def _devices(name: str) -> list:
    register(name)
    devices = [each for each in ort.get_ep_devices() if each.ep_name == name]
    if not devices:
        raise ExecutionProviderUnavailable(
            f"execution provider {name!r} is installed, but supports no device of this machine"
        )
    return devices[:1]


def _how_to_install(name: str) -> str:
    return f"; pip install {PLUGINS[name].package}" if name in PLUGINS else ""
