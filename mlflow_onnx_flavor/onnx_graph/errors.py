"""What a strategy raises where it knows why it cannot export a model."""

from __future__ import annotations

import re

_ANSI = re.compile(r"\x1b\[[0-9;]*m")


class NotExportableError(RuntimeError):
    """A strategy cannot export the model; the message is one line with cause and remedy."""


def plain(text: str) -> str:
    """``text`` without the colours that exporters write for terminals."""
    return _ANSI.sub("", text).strip()
