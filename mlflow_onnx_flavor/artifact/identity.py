"""What makes two logged models the same model: their graph and their configuration.

MLflow gives every logged model ids, a path and a time of its own, so that the same conversion
logged twice has two digests.  The digest says which bytes these are; the identity, which model.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from mlflow_onnx_flavor.artifact.digests import manifest_of

MLMODEL = "MLmodel"
# Of the MLmodel file, what says how the model answers; the rest says when and where it was logged.
_CONFIGURATION = ("flavors", "signature", "saved_input_example_info")


def identity_of(path: Path) -> str:
    """Return the SHA-256 (hex) of all files of the model, and of how its MLmodel configures it.

    ``path``: a folder with an MLmodel file, or a bare ``.onnx`` file.
    """
    files = {name: sha for name, (sha, _size) in manifest_of(path).items() if name != MLMODEL}
    whole: dict[str, Any] = {"files": files}
    if path.is_dir():
        from mlflow.models import Model

        entries = Model.load(str(path)).to_dict()
        whole["configuration"] = {name: entries.get(name) for name in _CONFIGURATION}
    return hashlib.sha256(json.dumps(whole, sort_keys=True, default=str).encode()).hexdigest()
