"""The files that a model consists of, and signs that one of them has changed."""

from __future__ import annotations

import hashlib
import json
import mmap
import os
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from .integrity import files_below

# The key under which a tensor of a graph names another file.
_ELSEWHERE = b"location"
# Number of digests that `remembered_digest` keeps; older ones are forgotten.
MOST_REMEMBERED = 64
# A file may be written twice within the resolution of its time of change, so the digest of a file
# that is younger than this is not kept.
SETTLED_SECONDS = 2.0


def names_other_files(file: Path) -> bool:
    """Return whether weights of the graph in ``file`` may lie in other files; True if in doubt."""
    if file.stat().st_size == 0:
        return False
    with file.open("rb") as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as all_:
        return all_.find(_ELSEWHERE) >= 0


def files_beside(file: Path) -> list[Path] | None:
    """Return the files in the folder of ``file`` if it is a model's folder, otherwise None."""
    return files_below(file.parent) if (file.parent / "MLmodel").is_file() else None


def files_of(file: Path) -> list[Path] | None:
    """Return the files of the model whose graph is ``file``; None where they are not known.

    They are all files of its folder where that has an MLmodel file, and ``file`` alone where it
    holds its own weights.  Elsewhere the weights lie in other files, which are not looked up.
    """
    found = files_beside(file)
    return [file] if found is None and not names_other_files(file) else found


def places(files: list[Path]) -> list[tuple[int, int, int, int]]:
    """Return device, inode, time of change in ns and size in bytes of each file.

    Some of these change when a file is written or replaced; nothing is read.
    """
    found = (each.stat() for each in files)
    return [(each.st_dev, each.st_ino, each.st_mtime_ns, each.st_size) for each in found]


def remembered_digest(files: list[Path], memory: Path) -> str:
    """Return the digest of the bytes of ``files``; read them only if ``memory`` lacks their places.

    ``memory``: a JSON file, made where it is missing; it only saves time, and may be lost.
    """
    found = places(files)
    place, known = json.dumps(found), _read(memory)
    if place in known:
        return known[place]
    digest = digest_of_files(files)
    if max(changed for _, _, changed, _ in found) < time.time_ns() - SETTLED_SECONDS * 1e9:
        _write(memory, dict([*known.items(), (place, digest)][-MOST_REMEMBERED:]))
    return digest


def digest_of_files(files: list[Path]) -> str:
    """Return the BLAKE2 digest (hex) of the files, in their order.

    BLAKE2 takes a third of the time of SHA-256 on a processor without instructions for the latter.
    """
    whole = hashlib.blake2b(digest_size=32)
    for each in files:
        with each.open("rb") as stream:
            whole.update(hashlib.file_digest(stream, "blake2b").digest())
    return whole.hexdigest()


def _read(memory: Path) -> dict[str, Any]:
    with suppress(OSError, ValueError):
        known = json.loads(memory.read_text(encoding="utf-8"))
        if isinstance(known, dict):
            return known
    return {}


def _write(memory: Path, known: dict[str, Any]) -> None:
    """Write the file as a whole or not at all, also where two processes do so at once."""
    with suppress(OSError):
        memory.parent.mkdir(parents=True, exist_ok=True)
        number, scratch = tempfile.mkstemp(prefix="new-", dir=memory.parent)
        try:
            with open(number, "w", encoding="utf-8") as stream:
                json.dump(known, stream)
            os.replace(scratch, memory)
        finally:
            Path(scratch).unlink(missing_ok=True)
