"""Compute the digest of a model's files.

The digest of a folder is the SHA-256 of its manifest, one line ``sha256 size path`` a file in the
order of paths.  The digest of a single file is that of its one-line manifest.  Every name counts:
an empty folder has a line ``folder 0 path/``.  A model's folder must not hold entries that a
manifest cannot cover; they are refused: links, devices, pipes and sockets, and Python's caches,
which Python runs in place of the source beside them.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

# MLflow writes this beside a model when it is fetched from a registry; it is not part of the model.
_NOT_THE_MODEL = "registered_model_meta"
_CACHE = "__pycache__"
_FOLDER = "folder"  # in the place of a SHA-256
_MOST_DEPTH = 50
_SHOWN = 200  # characters of a name in a message

Manifest = dict[str, tuple[str, int]]


class ForeignEntryError(ValueError):
    """A model's folder holds an entry that no model may hold; the message names it."""


def manifest_of(path: Path) -> Manifest:
    """Return ``relative path -> (SHA-256 hex, size in bytes)`` for every file below ``path``.

    An empty folder has the value ``("folder", 0)`` under its path with a slash at the end.  Raises
    ForeignEntryError.
    """
    if path.is_file():
        return {path.name: _hash(path)}
    return {
        name: (_FOLDER, 0) if name.endswith("/") else _hash(path / name) for name in _names(path)
    }


def files_below(folder: Path) -> list[Path]:
    """Return the files of the model in ``folder``, sorted.  Raises ForeignEntryError."""
    return sorted(folder / name for name in _names(folder) if not name.endswith("/"))


def check_entries(folder: Path) -> None:
    """Raise ForeignEntryError if the model in ``folder`` holds an entry that no model may hold."""
    for _ in _names(folder):
        pass


def digest_of(path: Path) -> str:
    """Return ``sha256:`` and the hex digest of the manifest of ``path``."""
    return digest_of_manifest(manifest_of(path))


def digest_of_manifest(manifest: Manifest) -> str:
    """Return ``sha256:`` and the hex digest of the lines of a manifest."""
    lines = (f"{sha}  {size}  {name}\n" for name, (sha, size) in sorted(manifest.items()))
    return "sha256:" + hashlib.sha256("".join(lines).encode()).hexdigest()


def check_loaded(path: Path, expected: str) -> None:
    """Raise ValueError unless the model at ``path`` has the ``expected`` digest."""
    found = digest_of(path)
    if found != expected:
        raise ValueError(
            f"the model in {str(path)!r} is not the one that was asked for: its digest is {found},"
            f" not {expected}"
        )


def _names(root: Path, within: str = "") -> Iterator[str]:
    """Yield the path of every file below ``root``, and of every empty folder."""
    if within.count("/") > _MOST_DEPTH:
        raise ForeignEntryError(
            f"{within[:_SHOWN]!r} in {str(root)!r} is nested deeper than {_MOST_DEPTH} folders,"
            " which no model is; log the model again"
        )
    with os.scandir(root / within) as listed:
        entries = sorted(listed, key=lambda entry: entry.name)
    if within and not entries:
        yield within
    for entry in entries:
        name = within + entry.name
        if kind := _foreign_kind(entry):
            raise ForeignEntryError(
                f"{name!r} in {str(root)!r} is {kind}, which belongs to no model; remove it, or log"
                " the model again"
            )
        if entry.is_dir(follow_symlinks=False):
            yield from _names(root, f"{name}/")
        elif name != _NOT_THE_MODEL:
            yield name


def _foreign_kind(entry: os.DirEntry[str]) -> str:
    """Return in words why the entry may not be there; "" for a file or folder that may."""
    if entry.is_symlink() or (hasattr(entry, "is_junction") and entry.is_junction()):
        return "a link"
    if entry.name == _CACHE:
        return "a cache of Python"
    if not entry.name.isprintable():  # a line break would make two lines of a manifest
        return "named with characters that cannot be printed"
    if entry.is_dir(follow_symlinks=False) or entry.is_file(follow_symlinks=False):
        return ""
    return "neither a file nor a folder"


def _hash(file: Path) -> tuple[str, int]:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest(), os.fstat(stream.fileno()).st_size
