"""Lambda layers with Python lambdas, which Keras, and therefore MLflow, refuses to load."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mlflow_onnx_flavor.errors import UnsupportedModelError


@contextmanager
def lambdas_explained(path: Path) -> Iterator[None]:
    """Raise UnsupportedModelError naming the Lambda layers of the model and what replaces them.

    ``path`` is the model's folder, which the body loads.
    """
    try:
        yield
    except ValueError as error:
        if "`Lambda` layer" not in str(error):
            raise
        named = ", ".join(repr(each) for each in _lambdas(path))
        raise UnsupportedModelError(
            f"the model holds a Python lambda in a Lambda layer{f' ({named})' if named else ''},"
            " which neither Keras nor MLflow loads again; compute it with keras.ops in the"
            " functional model or in a layer of your own, or give the Lambda layer a function"
            " registered with keras.saving.register_keras_serializable, and log the model again"
        ) from error


def _lambdas(path: Path) -> Iterator[str]:
    """Yield the names of the Lambda layers in the .keras files below ``path``."""
    for file in path.rglob("*.keras"):
        with zipfile.ZipFile(file) as archive:
            yield from _within(json.loads(archive.read("config.json")))


def _within(config: Any) -> Iterator[str]:
    if isinstance(config, dict):
        if config.get("class_name") == "Lambda":
            yield config.get("config", {}).get("name", "")
        for each in config.values():
            yield from _within(each)
    elif isinstance(config, list):
        for each in config:
            yield from _within(each)
