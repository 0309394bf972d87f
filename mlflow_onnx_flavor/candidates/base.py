"""What a candidate's file provides: a name, what it does, and how it is built.

Adding a candidate is adding one file to this package: a module with ``name`` and ``build`` is an
`Optimization`, and is found by its presence.  One that is built by measuring says ``measured =
True``: only then is it handed what to measure on, and made anew on other hardware.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from mlflow_onnx_flavor.errors import OnnxFlavorError
from mlflow_onnx_flavor.schemas.evidence import ExecutionProvider
from mlflow_onnx_flavor.schemas.graph import GraphSpec


class CandidateError(OnnxFlavorError):
    """The candidate cannot be built from this model; the release goes on without it."""


@dataclass(frozen=True)
class Measuring:
    """What a candidate is measured on that is built by measuring.

    ``inputs``: rows that were saved.  ``provider``: that it will be served on.  ``seconds``: how
    long to measure, about.
    """

    inputs: Path
    graph: GraphSpec
    provider: ExecutionProvider
    batch_sizes: tuple[int, ...]
    confidence: float
    seconds: float


@dataclass(frozen=True)
class Built:
    """What an optimization made: options for its session, a line that says what it is, and what
    it measured for that.
    """

    description: str
    session_options: dict[str, Any] = field(default_factory=dict)
    details: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class BuiltCandidate:
    """A variant of the converted model, ready to be logged."""

    name: str
    path: Path
    graph: GraphSpec
    session_options: dict[str, Any]
    description: str
    details: dict[str, Any]


class Optimization(Protocol):
    """One way to make a variant: a module of this package.  Its ``name`` is its file's.

    ``measured``: what it builds depends on times that it measures; False where it is left out.
    """

    name: str
    measured: bool

    def build(self, converted: Path, out: Path, measuring: Measuring | None = None) -> Built:
        """Write the variant of ``converted`` to the file ``out``, weights that stay outside it
        into the same folder.  ``measuring``: None where there are no rows, and for a
        candidate that is not ``measured``.  Runs in a child process.

        Raises CandidateError where there is nothing to do.
        """
