"""Read .npy and .npz files of unknown origin; their headers are checked before memory is taken.

A header of a hundred bytes may declare 2^40 values, and an archive of 30 MB may hold 6 GB of zeros.
So the header of every array is read first and compared with the bytes that follow it, and the
expanded size of an archive is compared with its own size and with this machine's memory.
"""

from __future__ import annotations

import math
import os
import tokenize
import zipfile
import zlib
from pathlib import Path
from typing import IO

import numpy as np

MOST_ARRAYS = 10_000
# An archive may always expand to MODEST_BYTES, and beyond these to MOST_EXPANSION times its size.
MODEST_BYTES = 1_000_000_000
MOST_EXPANSION = 100
SHARE_OF_MEMORY = 0.5
_MOST_HEADER_BYTES = 10_000  # numpy's own limit
_SHOWN = 300  # characters shown of a library's message
_SUFFIX = ".npy"
# Raised by zipfile and zlib, beside ValueError and OSError, for truncated and malformed archives.
BROKEN = (
    *(EOFError, zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError),
    *(MemoryError, OverflowError, KeyError, TypeError, RecursionError),
    *(SyntaxError, tokenize.TokenError),  # raised for a malformed header
)


class ArrayFileError(ValueError):
    """The file holds no arrays, or more than it has bytes for, or than this machine can hold."""


def read_array(path: Path) -> np.ndarray:
    """Return the array of a .npy file.  Raises ArrayFileError and OSError; never unpickles."""
    try:
        with path.open("rb") as file:
            _check_array(file, path.stat().st_size, "it")
            file.seek(0)
            array: np.ndarray = np.load(file, allow_pickle=False)
            return array
    except ArrayFileError:
        raise
    except (ValueError, *BROKEN) as error:
        raise ArrayFileError(_reason(error)) from error


def read_arrays(path: Path) -> dict[str, np.ndarray]:
    """Return the arrays of a .npz file by name.

    Raises ArrayFileError and OSError; never unpickles.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            _check_archive(archive, path.stat().st_size)
        with np.load(path, allow_pickle=False) as arrays:
            return {name: arrays[name] for name in arrays.files}
    except ArrayFileError:
        raise
    except (ValueError, *BROKEN) as error:
        raise ArrayFileError(_reason(error)) from error


def check_memory(needed: int, what: str) -> None:
    """Raise ArrayFileError if ``needed`` bytes exceed half of this machine's memory."""
    most = int(_memory() * SHARE_OF_MEMORY)
    if needed > most:
        raise ArrayFileError(
            f"{what} needs {needed / 1e9:,.1f} GB of memory, more than the {most / 1e9:,.1f} GB"
            " that are read at once here; save the rows as Parquet, which is read in batches"
        )


def _check_archive(archive: zipfile.ZipFile, size: int) -> None:
    members = archive.infolist()
    if len(members) > MOST_ARRAYS:
        raise ArrayFileError(f"it has {len(members):,} arrays, more than {MOST_ARRAYS:,}")
    whole = sum(member.file_size for member in members)
    if whole > max(MODEST_BYTES, MOST_EXPANSION * size):
        raise ArrayFileError(
            f"its {size / 1e6:,.1f} MB expand to {whole / 1e9:,.1f} GB, more than"
            f" {MOST_EXPANSION} times as much; save it with numpy.savez, uncompressed"
        )
    check_memory(whole, "it")
    for member in members:
        if not member.filename.endswith(_SUFFIX):
            raise ArrayFileError(f"its {member.filename[:200]!r} is no array")
        with archive.open(member) as stream:
            _check_array(stream, member.file_size, f"its {member.filename[:200]!r}")


def _check_array(stream: IO[bytes], size: int, what: str) -> None:
    """Raise ArrayFileError unless the header is followed by as many bytes as it declares."""
    version = np.lib.format.read_magic(stream)
    digits = 2 if version == (1, 0) else 4
    length = stream.read(digits)
    header_bytes = int.from_bytes(length, "little")
    if len(length) < digits or header_bytes > _MOST_HEADER_BYTES:
        raise ArrayFileError(f"{what} has a header that is cut, or of {header_bytes:,} bytes")
    shape, _, dtype = np.lib.format.read_array_header_2_0(
        _Header(header_bytes.to_bytes(4, "little") + stream.read(header_bytes)),
        max_header_size=_MOST_HEADER_BYTES,
    )
    if dtype.hasobject:
        raise ArrayFileError(
            f"{what} holds Python objects, which are never unpickled; save text as a text array"
        )
    if not all(0 <= length < 1 << 48 for length in shape):
        raise ArrayFileError(f"{what} declares the shape {str(shape)[:200]}, which cannot be")
    # Values with an item size of 0 bytes still take memory once they are read.
    declared = math.prod(shape) * max(dtype.itemsize, 1)
    there = size - len(np.lib.format.magic(*version)) - digits - header_bytes
    if declared > max(there, 0):
        raise ArrayFileError(
            f"{what} declares the shape {str(shape)[:200]} of {dtype}, {declared:,} bytes, where"
            f" {max(there, 0):,} follow"
        )
    check_memory(declared, what)


class _Header:
    """A file-like object over the bytes of a header."""

    def __init__(self, content: bytes):
        self._content = content

    def read(self, size: int = -1, /) -> bytes:
        size = len(self._content) if size < 0 else size
        read, self._content = self._content[:size], self._content[size:]
        return read


def _memory() -> int:
    """Return the bytes of this machine's memory."""
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (ValueError, OSError, AttributeError):  # the system does not provide it
        return 8_000_000_000


def _reason(error: BaseException) -> str:
    text = str(error).strip().partition("\n")[0]
    return text[:_SHOWN] if text else f"it is cut, or no such file ({type(error).__name__})"
