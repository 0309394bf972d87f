"""The light face of a framework: what is known of it without importing it.

``frameworks/X/__init__.py`` holds one as ``face``.  Any process may import it; the inside,
``frameworks/X/framework.py``, is for the child process that loads the model.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from pathlib import Path
from typing import Any


class Precedence(IntEnum):
    """Which framework counts where a model has the flavors of several: the lowest."""

    WRAPPER = 0  # its estimators offer scikit-learn's interface, so may carry its flavor as well
    FRAMEWORK = 1
    INTERFACE = 2  # other frameworks' estimators may carry its flavor
    EXPORTED = 3  # a form to which models of the others may have been exported beside their own


@dataclass(frozen=True)
class Face:
    """What the parent process knows of a framework.

    ``flavors``: MLflow's names, the one that counts first.  ``extra``: of this distribution, which
    installs the framework.  ``modules``: what must be importable.  ``distributions``: those whose
    versions go into the record.  ``environment``: variables that are set, where they are not,
    before the framework is imported.  ``refused``: flavors of the framework's kin that are not
    converted, with what to do instead.
    """

    flavors: tuple[str, ...]
    extra: str
    modules: tuple[str, ...]
    distributions: tuple[str, ...]
    precedence: Precedence = Precedence.FRAMEWORK
    environment: Mapping[str, str] = field(default_factory=dict)
    refused: Mapping[str, str] = field(default_factory=dict)

    def flavor_in(self, flavors: Mapping[str, Any]) -> str | None:
        """Return the key by which the framework recognises a model of these flavors, or None."""
        return next((each for each in self.flavors if each in flavors), None)

    def check(self, entry: Mapping[str, Any]) -> None:
        """Raise UnsupportedModelError for a model that is not converted, from its flavor alone."""

    def served_by_mlflow(self, path: Path, entry: Mapping[str, Any]) -> bool:
        """Return whether MLflow's own loader reads the model in folder ``path``."""
        return True
