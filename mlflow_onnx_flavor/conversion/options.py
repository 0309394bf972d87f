"""What a configuration says of a conversion."""

from __future__ import annotations

from typing import Any

from mlflow_onnx_flavor.schemas.configuration import Configuration
from mlflow_onnx_flavor.schemas.evidence import ExecutionProvider
from mlflow_onnx_flavor.scoring.runtimes import CPU
from mlflow_onnx_flavor.source.model import SourceModel


def conversion_options(configuration: Configuration, source: SourceModel) -> dict[str, Any]:
    """What `convert_model` is told by the configuration and about the source."""
    options = configuration.conversion
    return {
        "strategy_timeout_s": options.timeout_seconds,
        "opset": options.opset,
        "ir_version": options.ir_version,
        "metadata": {"source_uri": source.resolved_uri, "source_digest": source.digest},
    }


def required_providers(configuration: Configuration) -> tuple[ExecutionProvider, ...]:
    """The providers on which every gate must hold: those asked for, else the CPU."""
    return configuration.execution_providers or (ExecutionProvider(name=CPU),)
