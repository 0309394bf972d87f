"""The text of an exporter's error, without the control codes for a terminal."""

from __future__ import annotations

import re

_ANSI = re.compile(r"\x1b\[[0-9;]*m")


def plain(text: str) -> str:
    """Return ``text`` without the colour codes that exporters write for terminals."""
    return _ANSI.sub("", text).strip()
