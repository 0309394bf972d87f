"""Download artifacts, and leave nothing behind when the process ends.

MLflow puts what it downloads into a new temporary folder that it never removes; an artifact that
lies on this machine's disk is used where it lies.
"""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def download(artifact_uri: str) -> Path:
    """The local path of the artifact, good until this process ends; raises what MLflow raises."""
    import mlflow

    temporary = Path(tempfile.gettempdir()).resolve()
    before = set(os.listdir(temporary))
    path = Path(mlflow.artifacts.download_artifacts(artifact_uri=artifact_uri))
    resolved = path.resolve()
    if resolved.is_relative_to(temporary) and resolved != temporary:
        top = resolved.relative_to(temporary).parts[0]
        if top not in before:  # made by this download
            atexit.register(shutil.rmtree, temporary / top, ignore_errors=True)
    return path


@contextmanager
def own_copy(folder: Path) -> Iterator[Path]:
    """A copy of ``folder`` that only this user can write to, good until this process ends.

    Links are copied as links.  Where the block raises, the copy is removed at once.
    """
    top = Path(tempfile.mkdtemp(prefix="mlflow-onnx-"))
    try:
        copied = shutil.copytree(folder, top / "model", symlinks=True)
        yield Path(copied)
    except BaseException:
        shutil.rmtree(top, ignore_errors=True)
        raise
    atexit.register(shutil.rmtree, top, ignore_errors=True)
