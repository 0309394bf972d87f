"""The result of every example's training script: a logged model and rows to release it on."""

from __future__ import annotations

import argparse
import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Trained:
    """A registered source version ``model_uri`` and a file of held-out inputs, ``evaluation``."""

    model_uri: str
    evaluation: Path
    description: str


def main(train: Callable[[Path], Trained]) -> None:
    """Train, and print the command that releases the model."""
    parser = argparse.ArgumentParser(description=train.__doc__)
    parser.add_argument("--folder", type=Path, default=Path("."), help="for the evaluation data")
    arguments = parser.parse_args()
    logging.getLogger("mlflow").setLevel(logging.ERROR)
    trained = train(arguments.folder)
    print(f"{trained.description}\n\nRelease it with:\n")
    print(
        f"    mlflow-onnx release {trained.model_uri} --registered-model NAME"
        f" --data {trained.evaluation}"
    )


def registered_uri(logged) -> str:
    """Return the URI ``models:/NAME/VERSION`` of the version that log_model just registered."""
    from mlflow import MlflowClient

    name = logged.name
    version = MlflowClient().search_model_versions(
        f"name = '{name}-source'", order_by=["version_number DESC"], max_results=1
    )[0]
    return f"models:/{version.name}/{version.version}"
