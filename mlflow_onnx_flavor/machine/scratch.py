"""Temporary files: one folder for each process, whose name tells the process that owns it.

A process that is killed cannot remove its own folder; the next process that starts removes the
folders of those that are gone.
"""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mlflow_onnx_flavor.machine.process_id import is_gone, this_process

PREFIX = "mlflow-onnx-of-"
_mine: dict[int, Path] = {}  # by process id, since a forked process has its own folder


def scratch_root() -> Path:
    """Return the folder for temporary files of this process, there until the process ends.

    The first call removes the folders of processes that are gone.
    """
    folder = _mine.get(os.getpid())
    if folder is None:
        remove_abandoned()
        folder = Path(tempfile.gettempdir()) / (PREFIX + "_".join(this_process().split(" ")))
        _mine[os.getpid()] = folder
        atexit.register(_remove, folder, os.getpid())
    folder.mkdir(mode=0o700, exist_ok=True)
    return folder


def new_folder(purpose: str) -> Path:
    """Return a new folder within that of this process."""
    return Path(tempfile.mkdtemp(prefix=f"{purpose}-", dir=scratch_root()))


def temporary_folder(purpose: str) -> tempfile.TemporaryDirectory:
    """Return a new folder within that of this process, which is removed with its context."""
    return tempfile.TemporaryDirectory(prefix=f"{purpose}-", dir=scratch_root())


@contextmanager
def as_temporary_directory() -> Iterator[None]:
    """Let libraries put their temporary files into this process's folder, too.

    It changes `tempfile.tempdir`, so it is only for a process that runs this package alone.
    """
    before = tempfile.tempdir
    tempfile.tempdir = str(scratch_root())
    try:
        yield
    finally:
        tempfile.tempdir = before


def temporary_directory() -> Path:
    """Return the folder for temporary files that outlive this process."""
    folder = _mine.get(os.getpid())
    return folder.parent if folder else Path(tempfile.gettempdir())


def remove_abandoned() -> list[Path]:
    """Remove and return this user's folders whose process has ended on this machine."""
    removed = []
    for folder in temporary_directory().glob(f"{PREFIX}*"):
        host, _, rest = folder.name.removeprefix(PREFIX).rpartition("_")[0].rpartition("_")
        process = f"{host} {rest} {folder.name.rpartition('_')[2]}"
        if _is_mine(folder) and is_gone(process):
            shutil.rmtree(folder, ignore_errors=True)
            removed.append(folder)
    return removed


def _is_mine(folder: Path) -> bool:
    try:
        return folder.lstat().st_uid == os.getuid() and folder.is_dir() and not folder.is_symlink()
    except FileNotFoundError:
        return False


def _remove(folder: Path, process: int) -> None:
    if os.getpid() == process:
        shutil.rmtree(folder, ignore_errors=True)
