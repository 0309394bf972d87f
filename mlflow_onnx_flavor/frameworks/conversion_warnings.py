"""What a converter tells of rows for which the source model itself has no answer by rule.

Where several training rows are equally near, say, which of them counts is decided by how a library
searches.  The graph then has one of the answers that the model could give, and that is told with
the conversion.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_told: ContextVar[list[str] | None] = ContextVar("told", default=None)


def tell(doubt: str) -> None:
    """Tell it to who converts; ``doubt``: one clause with what to do about it."""
    told = _told.get()
    if told is not None and doubt not in told:
        told.append(doubt)


@contextmanager
def collected() -> Iterator[list[str]]:
    """What is told within."""
    told: list[str] = []
    token = _told.set(told)
    try:
        yield told
    finally:
        _told.reset(token)
