"""The settings of a conversion that come from a configuration."""

from __future__ import annotations

from typing import Any

from mlflow_onnx_flavor.schemas.configuration import Configuration
from mlflow_onnx_flavor.schemas.evidence import ExecutionProvider
from mlflow_onnx_flavor.scoring.runtimes import CPU
from mlflow_onnx_flavor.source.model import SourceModel


def conversion_options(configuration: Configuration, source: SourceModel) -> dict[str, Any]:
    """Return the arguments of `convert_model` that the configuration and the source decide."""
    options = configuration.conversion
    return {
        "strategy_timeout_s": options.timeout_seconds,
        "opset": options.opset,
        "ir_version": options.ir_version,
        "metadata": {"source_uri": source.resolved_uri, "source_digest": source.digest},
    }


def required_providers(configuration: Configuration) -> tuple[ExecutionProvider, ...]:
    """Return the providers on which every gate must pass: the configured ones, else the CPU."""
    return configuration.execution_providers or (ExecutionProvider(name=CPU),)
