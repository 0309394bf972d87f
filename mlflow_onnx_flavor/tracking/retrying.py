"""Retry requests that failed because of a conflict in the store or a lost connection.

MLflow retries where no answer comes, and where the server is busy.  It does not retry where an
answer breaks off in the middle, nor where two processes insert the same row at once.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

Value = TypeVar("Value")

FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.1, 5.0
_LOST = ("IncompleteRead", "ChunkedEncodingError", "Connection aborted", "Connection broken")
# Words in the errors of SQLite, PostgreSQL, MySQL, and of SQLAlchemy, which wraps them.
_CONFLICTS = (
    *("IntegrityError", "UNIQUE constraint", "duplicate key", "Duplicate entry"),
    *("database is locked", "deadlock", "could not serialize"),
)


def retried(work: Callable[[], Value]) -> Value:
    """Return the result of ``work``, which must be safe to repeat.

    It is repeated as often as MLflow repeats a request (MLFLOW_HTTP_REQUEST_MAX_RETRIES), after
    pauses that double; then its error is raised.
    """
    from mlflow.environment_variables import MLFLOW_HTTP_REQUEST_MAX_RETRIES

    for number in range(MLFLOW_HTTP_REQUEST_MAX_RETRIES.get()):
        try:
            return work()
        except Exception as error:
            if not (breaks_off(error) or is_conflict(error)):
                raise
        time.sleep(min(FIRST_PAUSE_S * 2**number, LONGEST_PAUSE_S))
    return work()


def breaks_off(error: BaseException) -> bool:
    """Return whether the connection ended before the whole answer arrived."""
    return _says(error, _LOST)


def is_conflict(error: BaseException) -> bool:
    """Return whether the store refused a row because another process has just written it."""
    return _says(error, _CONFLICTS)


def _says(error: BaseException, words: tuple[str, ...]) -> bool:
    text = f"{type(error).__name__} {error}"
    return any(each in text for each in words)
