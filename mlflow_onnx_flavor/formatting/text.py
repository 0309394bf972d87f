"""Make text from outside (names, URIs, causes) fit to print: one line, no control characters."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import TextIO

# Control characters move a terminal's cursor and are forbidden in XML; surrogates cannot be
# encoded; directional overrides make a line read as another (CVE-2021-42574).
_STEERING = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff\ufffe\uffff]"
)
# Characters beyond ASCII that the reports write, and their replacements.
_PLAINER = str.maketrans({"–": "-", "−": "-", "→": "->", "×": "x"})
_ANSI_SEQUENCE = re.compile("\x1b\\[[0-9;?]*[ -/]*[@-~]|\x1b\\][^\x07\x1b]*(?:\x07|\x1b\\\\)?")


def printable(text: str) -> str:
    """Return ``text`` without terminal sequences and control characters but line ends and tabs."""
    text = _ANSI_SEQUENCE.sub("", text.replace("\r\n", "\n"))
    return _STEERING.sub("\ufffd", text)


def one_line(text: str) -> str:
    """Return `printable` text on one line."""
    return " ".join(printable(text).split())


def encodable(text: str, file: TextIO) -> str:
    """Return ``text`` with characters that ``file`` cannot encode replaced by ones that it can."""
    encoding = getattr(file, "encoding", None) or "utf-8"
    try:
        text.encode(encoding)
    except UnicodeEncodeError:
        return text.translate(_PLAINER).encode(encoding, "replace").decode(encoding)
    return text


def shorten(text: str, limit: int) -> str:
    """Return ``text`` cut to ``limit`` characters, with three dots where something is missing."""
    return text if len(text) <= limit else text[: limit - 3].rstrip() + "..."


def plain_table(titles: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table of aligned columns: one line for the titles and one for each row."""
    return "\n".join(aligned([titles, *rows], to_the_right=[False] * len(titles)))


def aligned(lines: Sequence[Sequence[str]], to_the_right: Sequence[bool]) -> Iterator[str]:
    """Yield each of ``lines`` as one line of text, its columns as wide as their widest cell."""
    cleaned = [[one_line(cell) for cell in line] for line in lines]
    widths = [max(map(len, column)) for column in zip(*cleaned, strict=True)]
    for line in cleaned:
        cells = zip(line, widths, to_the_right, strict=True)
        padded = (cell.rjust(width) if right else cell.ljust(width) for cell, width, right in cells)
        yield "  ".join(padded).rstrip()
