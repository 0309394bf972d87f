"""Output of a command: without credentials and, with `--json`, one document on standard output."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from typing import TextIO

from mlflow_onnx_flavor.redaction import RedactedStream

_documents: list[TextIO] = []  # streams for the document, while all else goes to standard error


@contextmanager
def redacted_output() -> Iterator[None]:
    """Remove credentials from everything that any library prints within the block."""
    with redirect_stdout(RedactedStream(sys.stdout)), redirect_stderr(RedactedStream(sys.stderr)):
        yield


@contextmanager
def one_document() -> Iterator[None]:
    """Send everything printed within the block to standard error, except `print_document`'s text.

    MLflow prints the address of a run as soon as the run ends.
    """
    _documents.append(sys.stdout)
    try:
        with redirect_stdout(sys.stderr):
            yield
    finally:
        _documents.pop()


def print_document(text: str) -> None:
    """Print the one document of ``--json``."""
    print(text, file=_documents[-1] if _documents else sys.stdout)
