"""The interface of a candidate's module: a name, a description, and how it is built.

Adding a candidate is adding one file to this package: a module with ``name`` and ``build`` is an
`Optimization` and is found without registration.  A candidate that is built by measuring sets
``measured = True``: only then does it receive the rows and settings to measure with, and is built
again on other hardware.
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
    """The rows and settings with which a candidate measures while it is built.

    ``inputs``: the file of the saved rows.  ``provider``: the execution provider that will serve
    the candidate.  ``seconds``: roughly how long to measure.
    """

    inputs: Path
    graph: GraphSpec
    provider: ExecutionProvider
    batch_sizes: tuple[int, ...]
    confidence: float
    seconds: float


@dataclass(frozen=True)
class Built:
    """The result of an optimization.

    ``description``: one line that says what the candidate is.  ``session_options``: options for its
    session.  ``details``: the measurements behind it.
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
    """One way to build a candidate: a module of this package, named like its file.

    ``measured``: whether the result depends on latency that it measures; False where a module lacks
    it.
    """

    name: str
    measured: bool

    def build(self, converted: Path, out: Path, measuring: Measuring | None = None) -> Built:
        """Write the candidate made from ``converted`` to ``out``, external weights beside it.

        ``measuring``: None where there are no rows, and for a candidate that is not ``measured``.
        Runs in a child process.

        Raises CandidateError where there is nothing to do.
        """
