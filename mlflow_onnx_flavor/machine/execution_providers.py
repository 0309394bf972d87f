"""The execution providers of this machine, as the parent process sees them."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mlflow_onnx_flavor.errors import ConfigurationError, ExecutionProviderError
from mlflow_onnx_flavor.schemas.evidence import ExecutionProvider

# Every build of onnxruntime is a distribution of its own that holds the same module.
_RUNTIMES = (
    "onnxruntime",
    "onnxruntime-gpu",
    "onnxruntime-openvino",
    "onnxruntime-directml",
    "onnxruntime-migraphx",
    "onnxruntime-qnn",
    "onnxruntime-cann",
)


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
    from mlflow_onnx_flavor.scoring.providers import PLUGINS, installed_plugins

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
    from mlflow_onnx_flavor.scoring.providers import PLUGINS, built_in_providers, installed_plugins

    if name not in PLUGINS:
        return None
    package = PLUGINS[name].package
    if name in {each.name for each in installed_plugins()}:
        return f"{package}=={importlib.metadata.version(package)}"
    return None if name in built_in_providers() else package


def runtime_distribution() -> str:
    """The distribution that onnxruntime is installed from: "onnxruntime", "onnxruntime-gpu", ..."""
    for name in _RUNTIMES:
        try:
            importlib.metadata.distribution(name)
        except importlib.metadata.PackageNotFoundError:
            continue
        return name
    return importlib.metadata.packages_distributions()["onnxruntime"][0]


def as_entries(execution_providers: Sequence[Any] | None) -> list[dict[str, Any]]:
    """What users write as what the MLmodel file holds: ``{"name", "options"}`` each, with
    "session_options" where some are given.

    Takes names, dictionaries with a name, (name, options) as `mlflow.onnx` does, and
    `ExecutionProvider`; one name alone; the CPU where there is none.  Raises ConfigurationError for
    anything else.
    """
    if isinstance(execution_providers, str):
        execution_providers = [execution_providers]
    return [_entry(each) for each in execution_providers or ["CPUExecutionProvider"]]


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
