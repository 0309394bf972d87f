"""The logged models that steps read."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from mlflow_onnx_flavor.schemas.configuration import SourceEnv
from mlflow_onnx_flavor.source.model import SourceModel, fetch_artifact, resolve_source


def model_folder(model_uri: str) -> Path:
    """Return the local folder of a logged ONNX model, checked.

    One that this process fetched before is used again where the URI cannot come to mean another
    model: ``models:/m-...``.  An alias, a stage and "latest" move, and a name may be registered
    anew, so those are fetched each time.
    """
    import mlflow

    if model_uri.startswith("models:/m-") and not set(model_uri.removeprefix("models:/")) & set(
        "/@"
    ):
        return _fetched(mlflow.get_tracking_uri(), model_uri)
    return fetch_artifact(model_uri)


@cache
def _fetched(tracking_uri: str, model_uri: str) -> Path:
    return fetch_artifact(model_uri)


def source_model(model_uri: str, source_env: SourceEnv = "current") -> SourceModel:
    """Return the source model of a release, by the URI that log_source recorded."""
    return resolve_source(model_uri, source_env)
