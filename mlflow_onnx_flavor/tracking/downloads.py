"""Download artifacts, and remove them when the process ends or the download fails.

A model or a file that lies on this machine's disk is used in place; MLflow copies a run's artifacts
in any case.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mlflow_onnx_flavor.machine.scratch import new_folder


def download(artifact_uri: str) -> Path:
    """Return the local path of the artifact, valid until this process ends.

    Raises the errors of MLflow.
    """
    import mlflow

    if _is_on_this_machine(artifact_uri):
        return Path(mlflow.artifacts.download_artifacts(artifact_uri=artifact_uri))
    folder = new_folder("download")
    try:
        return Path(
            mlflow.artifacts.download_artifacts(artifact_uri=artifact_uri, dst_path=str(folder))
        )
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise


def _is_on_this_machine(artifact_uri: str) -> bool:
    from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository
    from mlflow.store.artifact.local_artifact_repo import LocalArtifactRepository
    from mlflow.store.artifact.models_artifact_repo import ModelsArtifactRepository

    repository = get_artifact_repository(artifact_uri)
    while isinstance(repository, ModelsArtifactRepository):
        repository = repository.repo
    return isinstance(repository, LocalArtifactRepository)


@contextmanager
def own_copy(folder: Path) -> Iterator[Path]:
    """Yield a copy of ``folder`` that only this user can write to, valid until this process ends.

    Links are copied as links.  If the block raises, the copy is removed at once.
    """
    top = new_folder("copy")
    try:
        copied = shutil.copytree(folder, top / "model", symlinks=True)
        yield Path(copied)
    except BaseException:
        shutil.rmtree(top, ignore_errors=True)
        raise
