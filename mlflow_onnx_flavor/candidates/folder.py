"""A candidate on disk: what is measured, under the identity that the evidence gives it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from mlflow_onnx_flavor.evidence import ModelIdentity


@dataclass(frozen=True)
class CandidateFolder:
    """``folder``: a saved model (a folder with an MLmodel file) or a bare ``.onnx`` file."""

    identity: ModelIdentity
    folder: Path
