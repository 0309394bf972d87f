"""What is made once a session, by whichever of its processes needs it first."""

from __future__ import annotations

import contextlib
import shutil
import sqlite3
import tempfile
from collections.abc import Callable
from pathlib import Path

from filelock import FileLock
from mlflow import MlflowClient


def made_once(folder: Path, make: Callable[[Path], object]) -> Path:
    """Return ``folder`` as ``make(folder)`` left it; only the first process that asks makes it."""
    done = folder.with_name(f"{folder.name}.done")
    with FileLock(f"{folder}.lock"):
        if not done.exists():
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            make(folder)
            done.touch()
    return folder


def migrate(folder: Path) -> None:
    """Write the database of an empty MLflow store to ``folder``, which takes seconds.

    It holds no experiment: MLflow makes the default one when it first opens a copy, with its
    artifacts where that process stands.
    """
    with tempfile.TemporaryDirectory() as scratch:
        opened = Path(scratch) / "mlflow.db"
        assert MlflowClient(f"sqlite:///{opened}").search_experiments()
        with contextlib.closing(sqlite3.connect(opened)) as connection:
            connection.execute("DELETE FROM experiments")
            connection.commit()
            connection.execute("VACUUM INTO ?", [str(folder / "mlflow.db")])
