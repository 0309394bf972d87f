"""Models that steps read, fetched once a process."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from mlflow_onnx_flavor.schemas.configuration import SourceEnv
from mlflow_onnx_flavor.source.model import SourceModel, fetch_artifact, resolve_source


@cache
def model_folder(model_uri: str) -> Path:
    """The local folder of a logged ONNX model, checked.

    ``models:/m-...`` never changes, so once is enough.
    """
    return fetch_artifact(model_uri)


@cache
def source_model(model_uri: str, source_env: SourceEnv = "current") -> SourceModel:
    """The source model of a release, by the URI that log_source recorded."""
    return resolve_source(model_uri, source_env)
