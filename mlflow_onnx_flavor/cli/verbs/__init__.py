"""The verbs of the command, one file each, found without registration.

Adding a verb is adding one file here: a module with ``HELP`` (its line in ``--help``),
``add_arguments(parser)`` and ``run(arguments)``, which returns the exit status.  The verb's name is
that of the file, with "-" for "_" and without a last "_", which avoids a keyword of Python.  Every
file is imported for ``--help``, so heavy imports belong in ``run``.
"""

from __future__ import annotations

import argparse
import importlib
import pkgutil
from typing import Protocol, cast

_FIRST = "release"  # the main purpose of the command


class Verb(Protocol):
    """The interface of a verb's module in this package."""

    HELP: str

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Add the arguments that the verb takes beyond the options of every verb."""

    def run(self, arguments: argparse.Namespace) -> int:
        """Run the verb, print the result, and return the exit status."""
        ...


def verbs() -> dict[str, Verb]:
    """Return every verb by its name on the command line: release, then in alphabetical order."""
    modules = sorted(
        (each.name for each in pkgutil.iter_modules(__path__)),
        key=lambda name: (name != _FIRST, name),
    )
    return {
        name.rstrip("_").replace("_", "-"): cast(
            Verb, importlib.import_module(f"{__name__}.{name}")
        )
        for name in modules
    }
