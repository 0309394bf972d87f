"""Digests: which bytes these are.

The digest of a folder is the SHA-256 of its manifest, one line ``sha256  size  path`` a file in the
order of paths; of a single file, that of its one-line manifest.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

# MLflow writes these beside a model when it is registered; they say nothing of the model itself.
_NOT_THE_MODEL = frozenset({"registered_model_meta"})


def manifest_of(path: Path) -> dict[str, tuple[str, int]]:
    """``relative path -> (SHA-256 hex, size in bytes)`` for every file below ``path``."""
    if path.is_file():
        return {path.name: _hash(path)}
    return {file.relative_to(path).as_posix(): _hash(file) for file in files_below(path)}


def files_below(folder: Path) -> list[Path]:
    """The files of the model in ``folder``, sorted."""
    return [
        file
        for file in sorted(folder.rglob("*"))
        if file.is_file() and file.name not in _NOT_THE_MODEL and "__pycache__" not in file.parts
    ]


def digest_of(path: Path) -> str:
    """``sha256:`` and the hex digest of the manifest of ``path``."""
    lines = (f"{sha}  {size}  {name}\n" for name, (sha, size) in sorted(manifest_of(path).items()))
    return "sha256:" + hashlib.sha256("".join(lines).encode()).hexdigest()


def check_loaded(path: Path, expected: str) -> None:
    """Raise ValueError unless the model at ``path`` has the digest that was asked for."""
    found = digest_of(path)
    if found != expected:
        raise ValueError(
            f"the model in {str(path)!r} is not the one that was asked for: its digest is {found},"
            f" not {expected}"
        )


def _hash(file: Path) -> tuple[str, int]:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest(), file.stat().st_size
