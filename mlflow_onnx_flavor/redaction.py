"""Strip credentials from text: everything printed, logged or stored goes through `redact`.

A tracking URI may hold a password (``https://user:password@host``), and a link to a store a token
(``?sig=...``); libraries quote both in their errors.
"""

from __future__ import annotations

import re
from typing import TextIO, TypeVar

from pydantic import BaseModel

Model = TypeVar("Model", bound=BaseModel)

# The user information of RFC 3986 ends at the last "@" before the path.
_USER_INFORMATION = re.compile(r"""([A-Za-z][A-Za-z0-9+.-]*://)[^\s/?#"'<>\\]*@""")
# Parameters of signed links and of database connection strings.
_PARAMETER = re.compile(
    r"""([?&;](?:amp;)?(?:[\w.-]*(?:token|signature|credential|password|passwd|secret|key|pwd)"""
    r"""|sig|code)=)[^\s&;#"'<>\\]+""",
    re.IGNORECASE,
)
_AUTHORIZATION = re.compile(
    r"""(\bauthorization["']?\s*[:=]\s*["']?(?:basic|bearer)\s+)[\w.~+/=-]+""", re.IGNORECASE
)


def redact(text: str) -> str:
    """Return ``text`` without the user information of URIs, and with ``***`` in place of tokens."""
    text = _USER_INFORMATION.sub(r"\1", text)
    text = _PARAMETER.sub(r"\1***", text)
    return _AUTHORIZATION.sub(r"\1***", text)


def redacted(record: Model) -> Model:
    """Return ``record``, or a copy of it without the credentials that its texts hold."""
    before = record.model_dump_json()
    after = redact(before)
    return record if before == after else type(record).model_validate_json(after)


class RedactedStream:
    """A text stream that passes everything written to it through `redact` into ``stream``.

    Every other attribute is that of ``stream``.
    """

    def __init__(self, stream: TextIO):
        self._stream = stream

    def write(self, text: str) -> int:
        """Write ``text`` without credentials; return the number of characters of ``text``."""
        self._stream.write(redact(text))
        return len(text)

    def writelines(self, lines) -> None:
        """Write each of ``lines`` without credentials."""
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str):
        return getattr(self._stream, name)
