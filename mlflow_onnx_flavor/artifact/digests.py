"""Compute digests of artifacts and check them against those that were verified."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from mlflow_onnx_flavor.errors import DigestMismatchError
from mlflow_onnx_flavor.scoring.integrity import (
    ForeignEntryError,
    digest_of,
    digest_of_manifest,
    manifest_of,
)

__all__ = ["check_digest", "digest_of", "digest_of_tree", "manifest_of", "size_of"]


def digest_of_tree(path: Path) -> str:
    """Return the digest of something other than an ONNX artifact: a source model, a folder of data.

    It equals the digest of an artifact where the folder holds nothing but files.  Links are
    followed, since the files are read through them.  Python's caches are left out, since a source
    model brings its code to be run.
    """
    if path.is_file():
        return digest_of(path)
    return digest_of_manifest(
        {
            file.relative_to(path).as_posix(): next(iter(manifest_of(file).values()))
            for file in _tree(path)
        }
    )


def _tree(path: Path) -> Iterator[Path]:
    seen: set[str] = set()
    for folder, within, names in os.walk(path, followlinks=True):
        real = os.path.realpath(folder)
        if real in seen:  # a link to a folder above it
            within.clear()
            continue
        seen.add(real)
        within[:] = sorted(name for name in within if name != "__pycache__")
        yield from (
            file
            for name in sorted(names)
            if (file := Path(folder, name)).is_file() and name != "registered_model_meta"
        )


def size_of(path: Path) -> int:
    """Return the bytes of the file, or of all files below the folder."""
    if path.is_file():
        return path.stat().st_size
    return sum(file.stat().st_size for file in path.rglob("*") if file.is_file())


def check_digest(
    path: Path, expected: str, what: str, manifest: Mapping[str, Any] | None = None
) -> None:
    """Raise DigestMismatchError unless ``path`` has the digest that was verified.

    ``manifest``: that of the verified artifact, as `manifest_of` gave it, to name the changed
    files.
    """
    try:
        files = manifest_of(path)
    except ForeignEntryError as error:
        raise DigestMismatchError(
            f"{what} is not the artifact that was verified: {error}"
        ) from error
    found = digest_of_manifest(files)
    if found != expected:
        changes = "; ".join(_changes(manifest, files)) if manifest else ""
        raise DigestMismatchError(
            f"{what} is not the artifact that was verified{f': {changes}' if changes else ''}"
            f" (expected {expected}, found {found}); release the model again"
        )


def _changes(verified: Mapping[str, Any], found: Mapping[str, Any]) -> Iterator[str]:
    """Yield in words which files are missing, added or changed."""
    for name in sorted({*verified, *found}):
        if name not in found:
            yield f"{name!r} is missing"
        elif name not in verified:
            yield f"{name!r} was added"
        elif tuple(verified[name]) != tuple(found[name]):
            yield f"{name!r} was changed"
