"""The execution providers of this machine, as the parent process sees them."""

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
# The modules that onnxruntime, its plug-ins and its operator libraries are imported as.
_RUNTIME_MODULE = re.compile(rf"{RUNTIME}(_\w+)?")


@dataclass(frozen=True)
class ProviderDescription:
    """A provider that can be asked for here.  ``kind``: "built-in" or "plugin"."""

    name: str
    kind: str
    package: str
    version: str
    devices: tuple[str, ...]


def available() -> list[str]:
    """The names that can be asked for here."""
    from mlflow_onnx_flavor import scoring

    return scoring.available_providers()


def describe() -> list[ProviderDescription]:
    """Every available provider with its package and devices; starts plug-ins to ask them.

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
    """The pip requirement of a plug-in provider; None for one that comes with onnxruntime.

    Pinned to the version that is installed here; the package alone where none is.
    """
    from mlflow_onnx_flavor.scoring.providers import built_in_providers, installed_plugins

    if name not in PLUGINS:
        return None
    package = PLUGINS[name].package
    if name in {each.name for each in installed_plugins()}:
        return f"{package}=={importlib.metadata.version(package)}"
    return None if name in built_in_providers() else package


def runtime_distribution() -> str:
    """Return the distribution that onnxruntime is installed from: "onnxruntime",
    "onnxruntime-gpu", ...
    """
    for name in runtimes():
        if _version(name):
            return name
    return importlib.metadata.packages_distributions()[RUNTIME][0]


def runtimes() -> tuple[str, ...]:
    """Return the distributions that hold onnxruntime, each a build with other providers in it."""
    return tuple(dict.fromkeys((RUNTIME, *BUILDS.values())))


def runtime_versions() -> dict[str, str]:
    """Return the version of every installed distribution that runs a graph: builds of onnxruntime,
    plug-ins and operator libraries.  Those that no table names are found by the module that they
    provide; nothing is imported.
    """
    folders = tuple((entry, _changed_at(entry)) for entry in sys.path)
    named = (*runtimes(), *(each.package for each in PLUGINS.values()))
    names = sorted({*named, *_running_graphs(folders)})
    return {name: version for name in names if (version := _version(name))}


@cache
def _running_graphs(folders: tuple[tuple[str, int], ...]) -> frozenset[str]:
    """Return the distributions in ``folders``, each with when its content changed."""
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
    """What users write as what the MLmodel file holds: ``{"name", "options"}`` each, with
    "session_options" where some are given.

    Takes names, dictionaries with a name, (name, options) as `mlflow.onnx` does, and
    `ExecutionProvider`; one name alone; the CPU where there is none.  Raises ConfigurationError for
    anything else.
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
