"""Which files a model consists of, and what tells that one of them has changed."""

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
# Digests that `remembered_digest` keeps; older ones are forgotten.
MOST_REMEMBERED = 64
# A file that was written just now could be written again before its time of change moves.
SETTLED_SECONDS = 2.0


def names_other_files(file: Path) -> bool:
    """Whether weights of the graph in ``file`` may lie in other files; True where in doubt."""
    if file.stat().st_size == 0:
        return False
    with file.open("rb") as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as all_:
        return all_.find(_ELSEWHERE) >= 0


def files_beside(file: Path) -> list[Path] | None:
    """The files of the folder of ``file``, where that is a model's; else None."""
    return files_below(file.parent) if (file.parent / "MLmodel").is_file() else None


def files_of(file: Path) -> list[Path] | None:
    """The files of the model whose graph is ``file``: its folder's where that has an MLmodel file.

    None where it lies elsewhere and its weights beside it: which those are is not looked up.
    """
    found = files_beside(file)
    return [file] if found is None and not names_other_files(file) else found


def places(files: list[Path]) -> list[tuple[int, int, int, int]]:
    """What changes when a file is written or replaced, without reading it."""
    found = (each.stat() for each in files)
    return [(each.st_dev, each.st_ino, each.st_mtime_ns, each.st_size) for each in found]


def remembered_digest(files: list[Path], memory: Path) -> str:
    """The digest of the bytes of ``files``, read only where ``memory`` does not know their places.

    ``memory``: a JSON file, made where it is missing; it is of use only, and may be lost.
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
    """BLAKE2: a third of the time of SHA-256 on a processor with no instruction for that."""
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
    """Whole or not at all, also where two processes do it at once."""
    with suppress(OSError):
        memory.parent.mkdir(parents=True, exist_ok=True)
        number, scratch = tempfile.mkstemp(prefix="new-", dir=memory.parent)
        try:
            with open(number, "w", encoding="utf-8") as stream:
                json.dump(known, stream)
            os.replace(scratch, memory)
        finally:
            Path(scratch).unlink(missing_ok=True)
