"""The identity of a logged model: a digest of its graph and its configuration.

MLflow gives every logged model ids, a path and a time of its own, so the same conversion logged
twice has two digests.  The digest tells the bytes, the identity tells the model.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from mlflow_onnx_flavor.artifact.digests import manifest_of

MLMODEL = "MLmodel"
# Entries of the MLmodel file that decide how the model answers; the others tell when and where it
# was logged.
_CONFIGURATION = ("flavors", "signature", "saved_input_example_info")


def identity_of(path: Path) -> str:
    """Return the SHA-256 (hex) of the model's files and of its configuration in the MLmodel file.

    ``path``: a folder with an MLmodel file, or a bare ``.onnx`` file.
    """
    files = {name: sha for name, (sha, _size) in manifest_of(path).items() if name != MLMODEL}
    whole: dict[str, Any] = {"files": files}
    if path.is_dir():
        from mlflow.models import Model

        entries = Model.load(str(path)).to_dict()
        whole["configuration"] = {name: entries.get(name) for name in _CONFIGURATION}
    return hashlib.sha256(json.dumps(whole, sort_keys=True, default=str).encode()).hexdigest()
