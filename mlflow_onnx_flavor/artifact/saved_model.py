"""A candidate on disk: what is measured, under the identity that the evidence gives it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlflow_onnx_flavor.schemas.evidence import ModelIdentity


@dataclass(frozen=True)
class CandidateFolder:
    """``folder``: a saved model (a folder with an MLmodel file) or a bare ``.onnx`` file."""

    identity: ModelIdentity
    folder: Path


def graph_file(path: str | Path) -> Path:
    """The ONNX file of a model folder, as its flavor names it; a bare file is itself."""
    path = Path(path)
    return path if path.is_file() else path / _entry(path)["data"]


def feeds_of(path: str | Path) -> list[dict[str, Any]]:
    """How the graph is fed (`FeedSpec` records); none where nothing but the file says so."""
    path = Path(path)
    return [] if path.is_file() else _entry(path).get("graph", {}).get("feeds", [])


def _entry(folder: Path) -> dict[str, Any]:
    from mlflow.models import Model

    from mlflow_onnx_flavor.scoring.entry import FLAVOR

    flavors = Model.load(str(folder)).flavors
    entry: dict[str, Any] = flavors.get(FLAVOR) or flavors["onnx"]
    return entry
