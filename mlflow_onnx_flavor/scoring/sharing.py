"""Share one onnxruntime session a process for the same model under the same settings.

A session is thread-safe and holds the weights, so a model that is loaded twice needs only one.  The
session lives as long as somebody holds it.
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

# A larger file is identified by its place on the disk, since reading it would cost too much.
READ_BYTES = 16 * 2**20

_sessions: weakref.WeakValueDictionary[str, Any] = weakref.WeakValueDictionary()
_lock = threading.Lock()


def shared(file: str, settings: Any, open_session: Callable[[], Any]) -> Any:
    """Return the session on ``file`` under ``settings`` (JSON), opened if there is none yet."""
    key = json.dumps([list(_identity(Path(file))), settings], default=str)
    with _lock:
        found = _sessions.get(key)
    if found is None:
        opened = open_session()  # two threads may open it at once: the first session stays
        with _lock:
            found = _sessions.setdefault(key, opened)
    return found


def _identity(file: Path) -> Iterator[Any]:
    """Yield values that change with any byte of the model.

    They are its digest, or the places of the files that it consists of.
    """
    if file.stat().st_size <= READ_BYTES and not names_other_files(file):
        yield hashlib.sha256(file.read_bytes()).hexdigest()
        return
    files = files_beside(file)  # None: the other files of the model are not known
    yield from [uuid.uuid4().hex] if files is None else places(files)


def _after_fork() -> None:
    """Forget the parent's sessions, which do not work in the child."""
    global _lock
    _lock = threading.Lock()
    _sessions.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
