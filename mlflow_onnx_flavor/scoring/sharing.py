"""One onnxruntime session a process for the same model under the same settings.

A session is thread-safe and holds the weights, so whoever loads a model twice needs one of them.
It lives as long as somebody holds it.
"""

from __future__ import annotations

import hashlib
import json
import os
import threading
import uuid
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from .contents import files_beside, names_other_files, places

# Of a larger file, its place on the disk tells which it is: to read it would cost too much.
READ_BYTES = 16 * 2**20

_sessions: weakref.WeakValueDictionary[str, Any] = weakref.WeakValueDictionary()
_lock = threading.Lock()


def shared(file: str, settings: Any, open_session: Callable[[], Any]) -> Any:
    """The session on ``file`` under ``settings`` (JSON), opened where this process has none."""
    key = json.dumps([list(_identity(Path(file))), settings], default=str)
    with _lock:
        found = _sessions.get(key)
    if found is None:
        opened = open_session()  # two at once may both open it: the first stays
        with _lock:
            found = _sessions.setdefault(key, opened)
    return found


def _identity(file: Path) -> Iterator[Any]:
    """What changes with any byte of the model: its digest, or which files it consists of."""
    if file.stat().st_size <= READ_BYTES and not names_other_files(file):
        yield hashlib.sha256(file.read_bytes()).hexdigest()
        return
    files = files_beside(file)  # None: what else in the folder is of the model cannot be told
    yield from [uuid.uuid4().hex] if files is None else places(files)


def _after_fork() -> None:
    """The child has none of the parent's: they do not work there."""
    global _lock
    _lock = threading.Lock()
    _sessions.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
