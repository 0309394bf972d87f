"""Local folders of the logged models that steps read."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

from mlflow_onnx_flavor.source.model import fetch_artifact

_LOGGED_MODEL = re.compile(r"models:/m-[^/@]+")


def model_folder(model_uri: str) -> Path:
    """Return the local folder of a logged ONNX model, after checking the artifact.

    A folder that this process fetched before is reused only for URIs that always name the same
    model: ``models:/m-...``.  An alias, a stage and "latest" move, and a name can be registered
    anew, so models under such URIs are fetched each time.
    """
    import mlflow

    if _LOGGED_MODEL.fullmatch(model_uri):
        return _fetched(mlflow.get_tracking_uri(), model_uri)
    return fetch_artifact(model_uri)


@cache
def _fetched(tracking_uri: str, model_uri: str) -> Path:
    return fetch_artifact(model_uri)
