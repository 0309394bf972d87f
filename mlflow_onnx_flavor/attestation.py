"""Digests: which bytes were verified, and whether these are the same ones.

The digest of a folder is the SHA-256 of its manifest, one line ``sha256  size  path`` a file in the
order of paths; of a single file, that of its one-line manifest.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from mlflow_onnx_flavor.errors import DigestMismatchError

# MLflow writes these beside a model when it is registered; they say nothing of the model itself.
_NOT_THE_MODEL = frozenset({"registered_model_meta"})


def manifest_of(path: Path) -> dict[str, tuple[str, int]]:
    """``relative path -> (SHA-256 hex, size in bytes)`` for every file below ``path``."""
    if path.is_file():
        return {path.name: _hash(path)}
    files = (file for file in sorted(path.rglob("*")) if file.is_file())
    return {
        file.relative_to(path).as_posix(): _hash(file)
        for file in files
        if file.name not in _NOT_THE_MODEL and "__pycache__" not in file.parts
    }


def digest_of(path: Path) -> str:
    """``sha256:`` and the hex digest of the manifest of ``path``."""
    lines = (f"{sha}  {size}  {name}\n" for name, (sha, size) in sorted(manifest_of(path).items()))
    return "sha256:" + hashlib.sha256("".join(lines).encode()).hexdigest()


def size_of(path: Path) -> int:
    """Bytes of the file, or of all files below the folder."""
    if path.is_file():
        return path.stat().st_size
    return sum(file.stat().st_size for file in path.rglob("*") if file.is_file())


def check_digest(
    path: Path, expected: str, what: str, manifest: Mapping[str, Any] | None = None
) -> None:
    """Raise DigestMismatchError unless ``path`` has the digest that was verified.

    ``manifest``: of the verified artifact, as `manifest_of` gave it, to name what was changed.
    """
    found = digest_of(path)
    if found != expected:
        changes = "; ".join(_changes(manifest, manifest_of(path))) if manifest else ""
        raise DigestMismatchError(
            f"{what} is not the artifact that was verified{f': {changes}' if changes else ''}"
            f" (expected {expected}, found {found}); release the model again"
        )


def _changes(verified: Mapping[str, Any], found: Mapping[str, Any]) -> Iterator[str]:
    """What became of which file, in words."""
    for name in sorted({*verified, *found}):
        if name not in found:
            yield f"{name!r} is missing"
        elif name not in verified:
            yield f"{name!r} was added"
        elif tuple(verified[name]) != tuple(found[name]):
            yield f"{name!r} was changed"


def _hash(file: Path) -> tuple[str, int]:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest(), file.stat().st_size
