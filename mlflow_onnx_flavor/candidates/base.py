"""What a candidate's file provides: a name, what it does, and how it is built.

Adding a candidate is adding one file to this package: a module with ``name`` and ``build`` is an
`Optimization`, and is found by its presence.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from mlflow_onnx_flavor.errors import OnnxFlavorError
from mlflow_onnx_flavor.graph_spec import GraphSpec


class CandidateError(OnnxFlavorError):
    """The candidate cannot be built from this model; the release goes on without it."""


@dataclass(frozen=True)
class Built:
    """What an optimization made: options for its session, and a line that says what it is."""

    description: str
    session_options: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class BuiltCandidate:
    """A variant of the converted model, ready to be logged."""

    name: str
    path: Path
    graph: GraphSpec
    session_options: dict[str, Any]
    description: str


class Optimization(Protocol):
    """One way to make a variant: a module of this package.  Its ``name`` is its file's."""

    name: str

    def build(self, converted: Path, out: Path) -> Built:
        """Write the variant of ``converted`` to the file ``out``, weights that stay outside it
        into the same folder.  Runs in a child process.

        Raises CandidateError where there is nothing to do.
        """
