"""Execution providers: built in, or plug-ins that are registered from an installed package."""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from itertools import takewhile
from typing import Any

import onnxruntime as ort

from .runtimes import BUILDS, CPU, PLUGINS, Plugin

# Every build lists this provider, but it forwards requests to a service and cannot run a graph.
_NOT_A_PLACE = frozenset({"AzureExecutionProvider"})


_registering = threading.Lock()


class ExecutionProviderUnavailable(RuntimeError):
    """A requested provider is not available or did not start; ``provider`` is its name."""

    def __init__(self, message: str, provider: str = ""):
        super().__init__(message)
        self.provider = provider


def built_in_providers() -> list[str]:
    """Return the providers compiled into this onnxruntime."""
    return [name for name in ort.get_available_providers() if name not in _NOT_A_PLACE]


def installed_plugins() -> list[Plugin]:
    """Return the plug-ins whose package is installed; load nothing."""
    return [each for each in PLUGINS.values() if importlib.util.find_spec(each.module) is not None]


def available_providers() -> list[str]:
    """Return every provider that can be requested here, built in or installed."""
    found = built_in_providers()
    return found + [each.name for each in installed_plugins() if each.name not in found]


def not_available(name: str) -> str:
    """Return the sentence for a missing provider: which are available, and how to install it."""
    sentence = (
        f"execution provider {name!r} is not available here; available:"
        f" {', '.join(available_providers())}"
    )
    package = PLUGINS[name].package if name in PLUGINS else BUILDS.get(name)
    return sentence if package is None else f"{sentence}; pip install {package}"


def add_providers(options: ort.SessionOptions, requested: Sequence[Mapping[str, Any]]) -> list:
    """Put plug-in providers into ``options``; return the ``providers`` argument of the session.

    ``requested``: ``{"name", "options"}`` in order of preference. onnxruntime takes providers
    either in the options or as an argument, so one plug-in puts all of them into the options.
    Raises ExecutionProviderUnavailable for one that is not available.
    """
    plugins = {each.name for each in installed_plugins()}
    built_in = set(built_in_providers()) - plugins
    wanted = [
        (each["name"], {key: str(value) for key, value in (each.get("options") or {}).items()})
        for each in requested
    ]
    for name, _ in wanted:
        if name not in built_in and name not in plugins:
            raise ExecutionProviderUnavailable(not_available(name), name)
    if all(name in built_in for name, _ in wanted):
        return wanted
    # The CPU runs the nodes that the providers before it leave, without being listed; a provider
    # after it gets no node.
    for name, settings in takewhile(lambda each: each[0] != CPU, wanted):
        if name in plugins:
            options.add_provider_for_devices(_devices(name), settings)
        else:
            options.add_provider(name, settings)
    return []


def register(name: str) -> None:
    """Register the plug-in ``name`` with onnxruntime, once a process.

    Raises ExecutionProviderUnavailable where its library cannot be loaded.
    """
    with _registering:
        if devices_of(name):
            return
        try:
            library = importlib.import_module(PLUGINS[name].module).get_library_path()
            ort.register_execution_provider_library(name, library)
        except Exception as error:
            # A registered plug-in that supports no device lists none, so it is registered again; or
            # another copy of this package in the process was first.
            if "already registered" in str(error):
                return
            raise ExecutionProviderUnavailable(
                f"execution provider {name!r} is installed, but its library does not load: {error}",
                name,
            ) from error


def version_of(name: str) -> str:
    """Return the version of a plug-in's package; "" for a provider built into onnxruntime."""
    with suppress(KeyError, importlib.metadata.PackageNotFoundError):
        return importlib.metadata.version(PLUGINS[name].package)
    return ""


def devices_of(name: str) -> list:
    """Return the devices of this machine that a registered provider supports, best first."""
    return [each for each in ort.get_ep_devices() if each.ep_name == name]


def _devices(name: str) -> list:
    register(name)
    devices = devices_of(name)
    if not devices:
        raise ExecutionProviderUnavailable(
            f"execution provider {name!r} is installed, but supports no device of this machine",
            name,
        )
    return devices[:1]
