"""The face of TensorFlow and Keras, known without importing them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mlflow_onnx_flavor.frameworks.face import Face


class TensorFlowFace(Face):
    """The face of TensorFlow, some of whose models are too old for MLflow's loader."""

    def served_by_mlflow(self, path: Path, entry: Mapping[str, Any]) -> bool:
        """Return whether Keras 3, with which MLflow loads models, reads this one."""
        return saved_by_keras_2(path, entry) is None


def saved_by_keras_2(path: Path, flavor: Mapping[str, Any]) -> Path | None:
    """Return the SavedModel in the model folder ``path`` if Keras 2 wrote it, else None."""
    folder = path / str(flavor.get("data") or "data") / "model"
    if (folder / "saved_model.pb").is_file() and (folder / "keras_metadata.pb").is_file():
        return folder
    return None


face = TensorFlowFace(
    flavors=("tensorflow", "keras"),
    extra="tensorflow",
    modules=("tensorflow", "tf2onnx"),
    distributions=("tensorflow", "tensorflow-cpu", "keras", "tf2onnx", "onnx", "numpy"),
    # A .keras file runs on any of Keras's backends, but tf2onnx reads TensorFlow's graphs alone.
    environment={"TF_CPP_MIN_LOG_LEVEL": "3", "KERAS_BACKEND": "tensorflow"},
)
