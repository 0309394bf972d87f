"""Execution providers of this machine, with their packages, versions and devices."""

from __future__ import annotations

import importlib.metadata
import os
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from mlflow_onnx_flavor.errors import ConfigurationError, ExecutionProviderError
from mlflow_onnx_flavor.schemas.evidence import ExecutionProvider
from mlflow_onnx_flavor.scoring.runtimes import BUILDS, CPU, PLUGINS

RUNTIME = "onnxruntime"
# Module names of onnxruntime, its plug-ins and its operator libraries.
_RUNTIME_MODULE = re.compile(rf"{RUNTIME}(_\w+)?")


@dataclass(frozen=True)
class ProviderDescription:
    """An execution provider that can be requested here.

    ``kind``: "built-in" or "plugin".
    """

    name: str
    kind: str
    package: str
    version: str
    devices: tuple[str, ...]


def available() -> list[str]:
    """Return the names of the execution providers that can be requested here."""
    from mlflow_onnx_flavor import scoring

    return scoring.available_providers()


def describe() -> list[ProviderDescription]:
    """Return every available provider with its package and devices; start plug-ins to ask them.

    A plug-in that does not start has no devices.
    """
    from mlflow_onnx_flavor.scoring.providers import installed_plugins

    plugins = {each.name for each in installed_plugins()}
    runtime = runtime_distribution()
    described = []
    for name in available():
        package = PLUGINS[name].package if name in plugins else runtime
        described.append(
            ProviderDescription(
                name=name,
                kind="plugin" if name in plugins else "built-in",
                package=package,
                version=importlib.metadata.version(package),
                devices=_devices(name, is_plugin=name in plugins),
            )
        )
    return described


def check_requested(requested: Sequence[ExecutionProvider]) -> None:
    """Raise ExecutionProviderError for the first provider that is not available here."""
    from mlflow_onnx_flavor.scoring.providers import not_available

    present = available()
    for provider in requested:
        if provider.name not in present:
            raise ExecutionProviderError(not_available(provider.name))


def requirement_of(name: str) -> str | None:
    """Return the pip requirement of a plug-in provider; None for one that comes with onnxruntime.

    It is pinned to the version that is installed here; where none is, it is the bare package.
    """
    from mlflow_onnx_flavor.scoring.providers import built_in_providers, installed_plugins

    if name not in PLUGINS:
        return None
    package = PLUGINS[name].package
    if name in {each.name for each in installed_plugins()}:
        return f"{package}=={importlib.metadata.version(package)}"
    return None if name in built_in_providers() else package


def runtime_distribution() -> str:
    """Return the distribution that onnxruntime is installed from, such as "onnxruntime-gpu"."""
    for name in runtimes():
        if _version(name):
            return name
    return importlib.metadata.packages_distributions()[RUNTIME][0]


def runtimes() -> tuple[str, ...]:
    """Return the distributions that hold onnxruntime, each a build with its own providers."""
    return tuple(dict.fromkeys((RUNTIME, *BUILDS.values())))


def runtime_versions() -> dict[str, str]:
    """Return the version of every installed distribution that runs a graph.

    They are builds of onnxruntime, plug-ins and operator libraries.  Those that no table lists are
    found by the module that they provide.  Nothing is imported.
    """
    folders = tuple((entry, _changed_at(entry)) for entry in sys.path)
    named = (*runtimes(), *(each.package for each in PLUGINS.values()))
    names = sorted({*named, *_running_graphs(folders)})
    return {name: version for name in names if (version := _version(name))}


@cache
def _running_graphs(folders: tuple[tuple[str, int], ...]) -> frozenset[str]:
    """Return the installed distributions that provide a module of onnxruntime.

    ``folders``: the entries of the path, each with the time of its last change; the cached result
    holds only as long as they are the same.
    """
    return frozenset(
        name
        for module, names in importlib.metadata.packages_distributions().items()
        if _RUNTIME_MODULE.fullmatch(module)
        for name in names
    )


def _changed_at(entry: str) -> int:
    try:
        return os.stat(entry or ".").st_mtime_ns
    except OSError:
        return 0  # an entry of the path need not exist


def _version(distribution: str) -> str:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return ""


def as_entries(execution_providers: Sequence[Any] | None) -> list[dict[str, Any]]:
    """Return execution providers as the MLmodel file holds them: ``{"name", "options"}`` each.

    An entry has "session_options" as well where some are set.  Takes a list of names, dictionaries
    with a name, (name, options) pairs as in `mlflow.onnx`, and `ExecutionProvider`; or a single
    name.  The CPU stands in for an empty list and None.  Raises ConfigurationError for anything
    else.
    """
    if isinstance(execution_providers, str):
        execution_providers = [execution_providers]
    return [_entry(each) for each in execution_providers or [CPU]]


def _entry(provider: Any) -> dict[str, Any]:
    match provider:
        case str():
            return {"name": provider, "options": {}}
        case ExecutionProvider():
            return provider.model_dump()
        case {"name": str() as name}:
            session_options = dict(provider.get("session_options") or {})
            return {
                "name": name,
                "options": dict(provider.get("options") or {}),
                **({"session_options": session_options} if session_options else {}),
            }
        case [str() as name, Mapping() as options]:
            return {"name": name, "options": dict(options)}
    raise ConfigurationError(
        f"an execution provider is a name, or a name with options, not {provider!r}"
    )


def _devices(name: str, is_plugin: bool) -> tuple[str, ...]:
    from mlflow_onnx_flavor.scoring.providers import (
        ExecutionProviderUnavailable,
        devices_of,
        register,
    )

    if is_plugin:
        try:
            register(name)
        except ExecutionProviderUnavailable:
            return ()
    found = [
        f"{str(each.device.type).rpartition('.')[2]} ({each.device.vendor})"
        for each in devices_of(name)
    ]
    return tuple(dict.fromkeys(found))
