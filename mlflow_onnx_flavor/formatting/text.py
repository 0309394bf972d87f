"""Text from outside (names, URIs, causes) made fit to print: one line, nothing that steers."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import TextIO

# Control characters move a terminal's cursor and are forbidden in XML; surrogates cannot be
# encoded; directional overrides make a line read as another (CVE-2021-42574).
_STEERING = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff\ufffe\uffff]"
)
# What the reports themselves write beyond ASCII.
_PLAINER = str.maketrans({"–": "-", "−": "-", "→": "->", "×": "x"})
_ANSI_SEQUENCE = re.compile("\x1b\\[[0-9;?]*[ -/]*[@-~]|\x1b\\][^\x07\x1b]*(?:\x07|\x1b\\\\)?")


def printable(text: str) -> str:
    """``text`` without terminal sequences and control characters; line ends and tabs stay."""
    text = _ANSI_SEQUENCE.sub("", text.replace("\r\n", "\n"))
    return _STEERING.sub("\ufffd", text)


def one_line(text: str) -> str:
    """The same on one line."""
    return " ".join(printable(text).split())


def encodable(text: str, file: TextIO) -> str:
    """``text`` with what the encoding of ``file`` cannot write replaced by what it can."""
    encoding = getattr(file, "encoding", None) or "utf-8"
    try:
        text.encode(encoding)
    except UnicodeEncodeError:
        return text.translate(_PLAINER).encode(encoding, "replace").decode(encoding)
    return text


def shorten(text: str, limit: int) -> str:
    """``text`` cut to ``limit`` characters, with three dots where something is missing."""
    return text if len(text) <= limit else text[: limit - 3].rstrip() + "..."


def plain_table(titles: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table of plain lines, one for the titles and one for each row; columns stand aligned."""
    return "\n".join(aligned([titles, *rows], to_the_right=[False] * len(titles)))


def aligned(lines: Sequence[Sequence[str]], to_the_right: Sequence[bool]) -> Iterator[str]:
    """Each of ``lines`` as one line of text, its columns as wide as their widest cell."""
    cleaned = [[one_line(cell) for cell in line] for line in lines]
    widths = [max(map(len, column)) for column in zip(*cleaned, strict=True)]
    for line in cleaned:
        cells = zip(line, widths, to_the_right, strict=True)
        padded = (cell.rjust(width) if right else cell.ljust(width) for cell, width, right in cells)
        yield "  ".join(padded).rstrip()
