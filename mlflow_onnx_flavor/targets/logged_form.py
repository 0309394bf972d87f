"""The logged form of an exported model: its MLmodel file, its environment, and its logging."""

from __future__ import annotations

import importlib.metadata
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mlflow_onnx_flavor.artifact.writer import write_environment
from mlflow_onnx_flavor.targets.base import Target

if TYPE_CHECKING:
    from mlflow.models import Model
    from mlflow.models.model import ModelInfo

# Distributions of the targets' libraries on the package index, by the name of their module.
_DISTRIBUTIONS = {"torch": "torch", "openvino": "openvino"}


def write_mlmodel(
    target: Target,
    folder: Path,
    feeds: Mapping[str, np.ndarray],
    outputs: Mapping[str, np.ndarray],
) -> None:
    """Write the MLmodel file and the environment of an export in ``folder``.

    ``feeds`` and ``outputs``: arrays of the graph, which its signature is inferred from.  A target
    that is for reading only gets neither file.
    """
    from mlflow.models import Model
    from mlflow.models.signature import ModelSignature

    model = Model(signature=ModelSignature(_schema(feeds), _schema(outputs)))
    if not target.describe(folder, model):
        return
    requirements = [
        f"{name}=={importlib.metadata.version(name).partition('+')[0]}"
        for name in (_DISTRIBUTIONS[each] for each in target.modules)
    ]
    requirements += [f"{name}=={importlib.metadata.version(name)}" for name in ("mlflow", "numpy")]
    write_environment(folder, None, [], requirements, None)
    model.save(str(folder / "MLmodel"))


def _schema(arrays: Mapping[str, np.ndarray]) -> Any:
    """Return tensors with an open first axis, named if there are several."""
    from mlflow.types import Schema, TensorSpec

    return Schema(
        [
            TensorSpec(
                np.dtype(str) if array.dtype == object else array.dtype,
                (-1, *array.shape[1:]),
                name if len(arrays) > 1 else None,
            )
            for name, array in arrays.items()
        ]
    )


def log_exported(folder: Path, name: str, registered_model: str | None) -> ModelInfo:
    """Log the exported folder to the active run, or to one of its own, and register it."""
    from mlflow.models import Model

    return Model.log(
        artifact_path=None,
        name=name,
        flavor=sys.modules[__name__],
        exported=folder,
        registered_model_name=registered_model,
    )


def save_model(path: str, mlflow_model: Model, exported: Path) -> None:
    """Fill the model's folder for MLflow: a copy of ``exported``, under its own id."""
    from mlflow.models import Model

    shutil.copytree(exported, path, dirs_exist_ok=True)
    written = Model.load(str(exported))
    mlflow_model.flavors.update(written.flavors)
    mlflow_model.signature = written.signature
    mlflow_model.save(str(Path(path) / "MLmodel"))
