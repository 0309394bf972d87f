"""Conversion warnings: inputs on which the source model is ambiguous.

If several training rows are equally near, for example, the search order of a library decides which
of them counts.  The graph then returns one of the results that the model could return, and the
report of the conversion carries a warning.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_told: ContextVar[list[str] | None] = ContextVar("told", default=None)


def tell(doubt: str) -> None:
    """Add the conversion warning ``doubt``, one clause that says what to do about it."""
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
