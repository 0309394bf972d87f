"""The verbs of the command, one file each, found by presence.

Adding a verb is adding one file here: a module with ``HELP`` (its line in ``--help``),
``add_arguments(parser)`` and ``run(arguments)``, which returns the exit status.  Its file's name is
the verb's, with "-" for "_", and a last "_" where Python has the word for itself.  Every file is
imported for ``--help``, so what is heavy is imported in ``run``.
"""

from __future__ import annotations

import argparse
import importlib
import pkgutil
from typing import Protocol, cast

_FIRST = "release"  # what the command is for


class Verb(Protocol):
    """A module of this package."""

    HELP: str

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Add what the verb takes beyond the options of every verb."""

    def run(self, arguments: argparse.Namespace) -> int:
        """Do it, print what was done, and return the exit status."""
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
