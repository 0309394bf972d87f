"""Digests: which bytes were verified, and whether these are the same ones."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from mlflow_onnx_flavor.errors import DigestMismatchError
from mlflow_onnx_flavor.scoring.integrity import digest_of, manifest_of

__all__ = ["check_digest", "digest_of", "manifest_of", "size_of"]


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
