"""Environment variables by which the administrator of a server configures every model.

- ``MLFLOW_ONNX_EXECUTION_PROVIDERS``: comma-separated names; the providers keep the options that
  they were logged with
- ``MLFLOW_ONNX_SESSION_OPTIONS``: JSON, in the form of the flavor's session options
- ``MLFLOW_ONNX_FALLBACK``: "strict" or "allow"
- ``MLFLOW_ONNX_CACHE``: a folder for onnxruntime's form of a model
- ``MLFLOW_ONNX_METRICS_SECONDS``: the interval at which counters are written to MLflow
- ``MLFLOW_ONNX_TRACING``: "true" for a trace of each prediction

They override the settings that a model was logged with, and the arguments of loading override them.
"""

from __future__ import annotations

import os
from typing import Any

from .documents import DocumentError, parse_json
from .settings import check_seconds, session_options

PROVIDERS_VARIABLE = "MLFLOW_ONNX_EXECUTION_PROVIDERS"
OPTIONS_VARIABLE = "MLFLOW_ONNX_SESSION_OPTIONS"
FALLBACK_VARIABLE = "MLFLOW_ONNX_FALLBACK"
CACHE_VARIABLE = "MLFLOW_ONNX_CACHE"
METRICS_VARIABLE = "MLFLOW_ONNX_METRICS_SECONDS"
TRACING_VARIABLE = "MLFLOW_ONNX_TRACING"
_TRUTHS = {"true": True, "1": True, "false": False, "0": False}


def given_by_environment() -> dict[str, Any]:
    """Return the environment's settings as a model configuration.

    Raises ValueError naming the variable that is not valid.
    """
    found: dict[str, Any] = {}
    names = [each.strip() for each in os.environ.get(PROVIDERS_VARIABLE, "").split(",")]
    if any(names):
        found["execution_providers"] = [{"name": name} for name in names if name]
    text = os.environ.get(OPTIONS_VARIABLE, "")
    if text:
        try:
            options = parse_json(text)
        except DocumentError as error:
            raise ValueError(f"{OPTIONS_VARIABLE} is no JSON: {error}") from error
        if not isinstance(options, dict):
            raise ValueError(f"{OPTIONS_VARIABLE} must be a JSON object, not {text!r}")
        try:
            found["session_options"] = session_options(options)
        except ValueError as error:
            raise ValueError(f"{OPTIONS_VARIABLE} makes no sense: {error}") from error
    if fallback := os.environ.get(FALLBACK_VARIABLE, ""):
        found["fallback"] = fallback
    if folder := os.environ.get(CACHE_VARIABLE, ""):
        found["cache_folder"] = folder
    if seconds := os.environ.get(METRICS_VARIABLE, ""):
        try:
            found["metrics_seconds"] = float(seconds)
        except ValueError as error:
            raise ValueError(f"{METRICS_VARIABLE} must be seconds, not {seconds!r}") from error
        check_seconds(METRICS_VARIABLE, found["metrics_seconds"])
    if tracing := os.environ.get(TRACING_VARIABLE, ""):
        if tracing.lower() not in _TRUTHS:
            raise ValueError(f"{TRACING_VARIABLE} must be true or false, not {tracing!r}")
        found["tracing"] = _TRUTHS[tracing.lower()]
    return found
