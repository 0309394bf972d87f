"""Release machine-learning models as verified ONNX through MLflow.

    import mlflow_onnx_flavor as onnx_flavor

    conversion = onnx_flavor.convert("models:/fraud/3")
    report = onnx_flavor.check_parity("models:/fraud/3", conversion.path, "eval.parquet")
    release = onnx_flavor.release("models:/fraud/3", "fraud-onnx", data="eval.parquet")

The public names below are imported when they are first used: importing this package loads no
framework, and neither onnxruntime nor MLflow.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from mlflow_onnx_flavor import scoring as scoring  # switches off onnxruntime's telemetry
from mlflow_onnx_flavor._version import __version__

if TYPE_CHECKING:
    from mlflow_onnx_flavor.api import check_latency, check_parity, convert
    from mlflow_onnx_flavor.flavor import (
        _load_pyfunc,
        get_default_conda_env,
        get_default_pip_requirements,
        load_model,
        load_session,
        log_model,
        save_model,
    )
    from mlflow_onnx_flavor.gates import judge
    from mlflow_onnx_flavor.pipeline.export import export
    from mlflow_onnx_flavor.pipeline.release import Release, release
    from mlflow_onnx_flavor.registry import history, promote, rollback
    from mlflow_onnx_flavor.registry.loading import load_pyfunc
    from mlflow_onnx_flavor.schemas.configuration import Configuration, Gates

_HOME = {
    "Configuration": "schemas.configuration",
    "Gates": "schemas.configuration",
    "Release": "pipeline.release",
    "_load_pyfunc": "flavor",
    "check_latency": "api",
    "check_parity": "api",
    "convert": "api",
    "export": "pipeline.export",
    "get_default_conda_env": "flavor",
    "get_default_pip_requirements": "flavor",
    "history": "registry",
    "judge": "gates",
    "load_model": "flavor",
    "load_pyfunc": "registry.loading",
    "load_session": "flavor",
    "log_model": "flavor",
    "promote": "registry",
    "release": "pipeline.release",
    "rollback": "registry",
    "save_model": "flavor",
}

__all__ = [
    "Configuration",
    "Gates",
    "Release",
    "__version__",
    "_load_pyfunc",
    "check_latency",
    "check_parity",
    "convert",
    "export",
    "get_default_conda_env",
    "get_default_pip_requirements",
    "history",
    "judge",
    "load_model",
    "load_pyfunc",
    "load_session",
    "log_model",
    "promote",
    "release",
    "rollback",
    "save_model",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
