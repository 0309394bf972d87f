"""The execution providers of this machine, as the parent process sees them."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Sequence
from dataclasses import dataclass

from mlflow_onnx_flavor.errors import ExecutionProviderError
from mlflow_onnx_flavor.evidence import ExecutionProvider


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
    """Every available provider with its package and devices; starts plug-ins to ask them."""
    import onnxruntime as ort

    from mlflow_onnx_flavor.scoring.providers import PLUGINS, installed_plugins, register

    plugins = {each.name for each in installed_plugins()}
    for name in plugins:
        register(name)
    devices: dict[str, list[str]] = {}
    for each in ort.get_ep_devices():
        kind = str(each.device.type).rpartition(".")[2]
        devices.setdefault(each.ep_name, []).append(f"{kind} ({each.device.vendor})")
    return [
        ProviderDescription(
            name=name,
            kind="plugin" if name in plugins else "built-in",
            package=PLUGINS[name].package if name in plugins else "onnxruntime",
            version=importlib.metadata.version(
                PLUGINS[name].package if name in plugins else "onnxruntime"
            ),
            devices=tuple(dict.fromkeys(devices.get(name, ()))),
        )
        for name in available()
    ]


def check_requested(requested: Sequence[ExecutionProvider]) -> None:
    """Raise ExecutionProviderError for the first provider that is not available here."""
    from mlflow_onnx_flavor.scoring.providers import PLUGINS

    present = available()
    for provider in requested:
        if provider.name not in present:
            plugin = PLUGINS.get(provider.name)
            cure = f"; pip install {plugin.package}" if plugin else ""
            raise ExecutionProviderError(
                f"execution provider {provider.name!r} is not available here; available:"
                f" {', '.join(present)}{cure}"
            )


def requirement_of(name: str) -> str | None:
    """The pinned pip requirement of a plug-in provider; None for a built-in or absent one."""
    from mlflow_onnx_flavor.scoring.providers import PLUGINS, installed_plugins

    if name not in {each.name for each in installed_plugins()}:
        return None
    package = PLUGINS[name].package
    return f"{package}=={importlib.metadata.version(package)}"
