"""Read YAML and JSON of unknown origin, within limits that are checked before parsing.

An alias may stand for a list of aliases, and so on, so a few lines of YAML can stand for 10^9
values; each alias is therefore counted as the values that it stands for.  Python's own readers fail
on deep nesting with an error of the interpreter.
"""

from __future__ import annotations

import json
import os
import re
import stat
from pathlib import Path
from typing import Any

import yaml

MOST_BYTES = 64_000_000
MOST_VALUES = 300_000  # in YAML; an MLmodel file has about ten for each column of a table
MOST_DEPTH = 100
MOST_DIGITS = 1000
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_DIGITS = "0123456789.+-"
_TEXTS = re.compile(r'"(?:[^"\\]|\\.)*"?', re.DOTALL)
_BRACKETS = re.compile(r"[\[\]{}]")


class DocumentError(ValueError):
    """The text is not a document of that kind, or exceeds a limit."""


def read_text(path: Path, most_bytes: int = MOST_BYTES) -> str:
    """Return the text of a file.

    Raises DocumentError where it is not a regular file, too long or not UTF-8, otherwise OSError.
    """
    # Open without waiting: a pipe that nobody writes to would never open.
    number = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    with open(number, "rb") as file:
        if not stat.S_ISREG(os.fstat(number).st_mode):
            raise DocumentError("it is no regular file")
        content = file.read(most_bytes + 1)
    if len(content) > most_bytes:
        raise DocumentError(f"it is longer than {most_bytes / 1e6:g} MB")
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise DocumentError(f"it is no UTF-8 text: {error}") from error


def parse_yaml(text: str) -> Any:
    """Return the content of the YAML document, in plain types.

    Raises DocumentError where it is not valid or exceeds a limit; the error of YAML itself is its
    cause.
    """
    try:
        _check_yaml(text)
        return yaml.load(text, Loader=_LOADER)
    except DocumentError:
        raise
    except (yaml.YAMLError, ValueError, TypeError, OverflowError, RecursionError) as error:
        # Python raises the others for an impossible date, number or key.
        raise DocumentError(f"it is no valid YAML: {' '.join(str(error).split())}") from error


def parse_json(text: str) -> Any:
    """Return the content of the JSON document.

    Raises DocumentError where it is not valid or exceeds a limit.
    """
    check_json_depth(text)
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise DocumentError(f"it is no valid JSON: {error}") from error


def check_json_depth(text: str) -> None:
    """Raise DocumentError if a JSON text is nested deeper than `MOST_DEPTH`."""
    depth = 0
    for bracket in _BRACKETS.finditer(_TEXTS.sub("", text)):
        depth += 1 if bracket.group() in "[{" else -1
        if depth > MOST_DEPTH:
            raise DocumentError(f"it is nested deeper than {MOST_DEPTH} levels")


def _check_yaml(text: str) -> None:
    """Raise DocumentError if the document exceeds a limit; build no value for that.

    Each alias counts as the values that it stands for.
    """
    sizes: dict[str, int] = {}  # number of values under each anchor
    open_: list[tuple[str | None, int]] = []  # anchor, and how many values came before it
    values = 0
    for event in yaml.parse(text, Loader=_LOADER):
        if isinstance(event, yaml.AliasEvent):
            if any(anchor == event.anchor for anchor, _ in open_):
                raise DocumentError(
                    f"it has an alias *{event.anchor[:40]} within what it stands for"
                )
            values += sizes.get(event.anchor, 1)
        elif isinstance(event, yaml.ScalarEvent):
            values += 1
            if event.implicit[0] and len(event.value) > MOST_DIGITS and event.value[0] in _DIGITS:
                raise DocumentError(f"it has a number of more than {MOST_DIGITS} digits")
            if event.anchor:
                sizes[event.anchor] = 1
        elif isinstance(event, yaml.CollectionStartEvent):
            open_.append((event.anchor, values))
            values += 1
            if len(open_) > MOST_DEPTH:
                raise DocumentError(f"it is nested deeper than {MOST_DEPTH} levels")
        elif isinstance(event, yaml.CollectionEndEvent):
            anchor, before = open_.pop()
            if anchor:
                sizes[anchor] = values - before
        if values > MOST_VALUES:
            raise DocumentError(f"it stands for more than {MOST_VALUES:,} values")
