"""The face of a framework: the facts about it that are known without importing it.

``frameworks/X/__init__.py`` defines one as ``face``, which any process may import.  Only the child
process that loads the model imports the implementation, ``frameworks/X/framework.py``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from pathlib import Path
from typing import Any


class Precedence(IntEnum):
    """The precedence of frameworks for a model with the flavors of several: the lowest counts."""

    WRAPPER = 0  # its estimators have scikit-learn's interface, so may carry its flavor as well
    FRAMEWORK = 1
    INTERFACE = 2  # other frameworks' estimators may carry its flavor
    EXPORTED = 3  # a format to which a model of another framework may have been exported as well


@dataclass(frozen=True)
class Face:
    """The facts about a framework that the parent process knows.

    ``flavors``: names of MLflow flavors, in order of precedence.
    ``extra``: the extra of this distribution that installs the framework.
    ``modules``: the modules that must be importable.
    ``distributions``: the distributions whose versions are recorded.
    ``environment``: variables to set before the framework is imported, if they are not set yet.
    ``refused``: related flavors that are not converted, with advice on what to do instead.
    """

    flavors: tuple[str, ...]
    extra: str
    modules: tuple[str, ...]
    distributions: tuple[str, ...]
    precedence: Precedence = Precedence.FRAMEWORK
    environment: Mapping[str, str] = field(default_factory=dict)
    refused: Mapping[str, str] = field(default_factory=dict)

    def flavor_in(self, flavors: Mapping[str, Any]) -> str | None:
        """Return the flavor by which the framework recognises a model of ``flavors``, or None."""
        return next((each for each in self.flavors if each in flavors), None)

    def check(self, entry: Mapping[str, Any]) -> None:
        """Raise UnsupportedModelError if the flavor's entry shows that it is not converted."""

    def served_by_mlflow(self, path: Path, entry: Mapping[str, Any]) -> bool:
        """Return whether MLflow's own loader reads the model in folder ``path``."""
        return True
