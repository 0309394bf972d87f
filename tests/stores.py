"""MLflow stores in SQLite: a database is migrated once a session, and copied for each store."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import tempfile
from pathlib import Path

from filelock import FileLock
from mlflow import MlflowClient


def migrated_database(folder: Path) -> Path:
    """Return the database of an empty store in ``folder``, shared by all processes that name it.

    It holds no experiment: MLflow makes the default one when it first opens a copy, with its
    artifacts where that process stands.
    """
    database = folder / "migrated.db"
    with FileLock(f"{database}.lock"):
        if not database.exists():
            _migrate(database)
    return database


def _migrate(database: Path) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        opened = Path(scratch) / "mlflow.db"
        assert MlflowClient(f"sqlite:///{opened}").search_experiments()
        with contextlib.closing(sqlite3.connect(opened)) as connection:
            connection.execute("DELETE FROM experiments")
            connection.commit()
            connection.execute("VACUUM INTO ?", [f"{database}.part"])
    os.replace(f"{database}.part", database)
