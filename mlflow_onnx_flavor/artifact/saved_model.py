"""A candidate on disk, under the identity that the evidence gives it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlflow_onnx_flavor.schemas.evidence import ModelIdentity


@dataclass(frozen=True)
class CandidateFolder:
    """A candidate: its identity and its folder.

    ``folder``: a saved model (a folder with an MLmodel file) or a bare ``.onnx`` file.
    """

    identity: ModelIdentity
    folder: Path


def graph_file(path: str | Path) -> Path:
    """Return the ONNX file of a model folder, as its flavor names it; a bare file itself."""
    path = Path(path)
    return path if path.is_file() else path / _entry(path)["data"]


def feeds_of(path: str | Path) -> list[dict[str, Any]]:
    """Return how the graph is fed (`FeedSpec` records); an empty list for a bare ``.onnx`` file."""
    path = Path(path)
    return [] if path.is_file() else _entry(path).get("graph", {}).get("feeds", [])


def _entry(folder: Path) -> dict[str, Any]:
    from mlflow.models import Model

    from mlflow_onnx_flavor.scoring.entry import FLAVOR

    flavors = Model.load(str(folder)).flavors
    entry: dict[str, Any] = flavors.get(FLAVOR) or flavors["onnx"]
    return entry
