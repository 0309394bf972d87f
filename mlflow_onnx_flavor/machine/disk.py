"""Explain in one sentence that a disk is full, read-only or not writable by this user."""

from __future__ import annotations

import errno
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import suppress

from mlflow_onnx_flavor.errors import StorageError

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_FORBIDDEN = (errno.EROFS, errno.EACCES, errno.EPERM)
# SQLite's messages, which MLflow's errors quote, and their remedies.
_OF_DATABASES = {
    "attempt to write a readonly database": "let this user write to it",
    "database or disk is full": "free space on its disk",
    "unable to open database file": "let this user read and write it",
}


def storage_error(error: BaseException) -> StorageError | None:
    """Return a StorageError where ``error``, or one of its causes, is a disk's; otherwise None."""
    for link in _chain(error):
        # The error of copying a folder holds one error for each file.
        each = _first_of(link) if isinstance(link, shutil.Error) else link
        if isinstance(each, OSError) and each.errno in (*_FULL, *_FORBIDDEN):
            return StorageError(_in_words(each))
        for words, remedy in _OF_DATABASES.items():
            if words in str(each):
                return StorageError(f"the database of the tracking store fails ({words}); {remedy}")
    return None


def _in_words(error: OSError) -> str:
    reason = os.strerror(error.errno or 0)
    # When a file is copied, the second of the two is the one that cannot be written.
    place = str(error.filename2 or error.filename or "")
    if not place:
        return (
            f"a file in {tempfile.gettempdir()!r} or in the artifact store cannot be written"
            f" ({reason}); free space there, or set TMPDIR to a folder on a larger disk"
        )
    if error.errno in _FORBIDDEN:
        return f"{place!r} cannot be used ({reason}); let this user write there, or name another"
    elsewhere = ""
    if place.startswith(tempfile.gettempdir()):
        elsewhere = ", or set TMPDIR to a folder on a larger one"
    return f"{place!r} cannot be written ({reason}); free space on its disk{elsewhere}"


def _first_of(error: shutil.Error) -> OSError | None:
    """Return the first error that a `shutil.Error` lists, rebuilt from its text; None without one.

    Shutil keeps the files and the messages of the errors, not the errors themselves.
    """
    with suppress(IndexError, TypeError, ValueError):
        source, target, words = error.args[0][0]
        number = re.match(r"\[Errno (\d+)\]", words)
        if number:
            return OSError(int(number[1]), "", str(source), None, str(target))
    return None


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        yield error
        seen.add(id(error))
        error = error.__cause__ or error.__context__
