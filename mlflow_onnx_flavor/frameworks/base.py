"""What the inside of a framework provides, ``frameworks/X/framework.py``.

It runs in a source worker (`source.tasks`), the only process that imports the framework and may
execute a model's pickle.
"""

from __future__ import annotations

import sys
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from mlflow_onnx_flavor.inputs import Inputs
from mlflow_onnx_flavor.schemas.graph import FeedSpec


@dataclass(frozen=True)
class LoadedSource:
    """A source model in memory.

    ``native``: the framework's own object.  ``pyfunc``: the same artifact as MLflow serves it.
    ``path``: the folder with the MLmodel file.  ``flavor``: its flavor's configuration.
    """

    native: Any
    pyfunc: Any
    path: Path
    flavor: Mapping[str, Any]


def pyfunc_of(path: Path | str, model_config: dict[str, Any] | None = None) -> Any:
    """The artifact as MLflow serves it, under ``model_config``.

    MLflow's own comparison of its requirements with what is installed is left out: it reads the
    metadata of every package, more than a second, for a log that nobody reads here; what differs
    is said by `source_environment`.
    """
    import mlflow.pyfunc

    # Code is imported from where the artifact lies, which is no place for Python's caches.
    sys.dont_write_bytecode = True
    return mlflow.pyfunc.load_model(str(path), suppress_warnings=True, model_config=model_config)


@dataclass(frozen=True)
class Export:
    """What a strategy made: the file at the path that it was given, and how it is fed.

    ``outputs``: graph outputs in the graph's order, named as in `Framework.reference_outputs`.
    ``prediction``: which of them make the pyfunc's answer: several only where the pyfunc answers
    with a dictionary or one data-frame column each; ``keys`` are their names there.
    ``lengths``: an output of integers, shape (rows,), where the pyfunc answers for the first row
    alone, with so many of its entries.
    """

    feeds: tuple[FeedSpec, ...]
    outputs: tuple[str, ...]
    prediction: tuple[str, ...]
    keys: Mapping[str, str] = field(default_factory=dict)
    lengths: str = ""


@dataclass(frozen=True)
class Strategy:
    """One way to export.  ``export(path)`` writes the ONNX file there; it may raise anything."""

    name: str
    why: str
    export: Callable[[Path], Export]
    exporter: str  # the distribution that does the work, for its version


MoreRows = Callable[[], Inputs | None]


def no_more_rows() -> Inputs | None:
    """Return None: there are no rows but those of the example."""
    return None


class Framework(ABC):
    """The inside of one source framework, loaded only in the child process of a model."""

    @abstractmethod
    def load(self, path: Path, flavor: Mapping[str, Any]) -> LoadedSource:
        """Load the source model from the folder with its MLmodel file."""

    @abstractmethod
    def reference_outputs(self, source: LoadedSource, inputs: Inputs) -> dict[str, np.ndarray]:
        """Return the source's answers, every output by name, each of shape (rows, ...)."""

    @abstractmethod
    def strategies(
        self, source: LoadedSource, example: Inputs, evaluation: MoreRows = no_more_rows
    ) -> list[Strategy]:
        """Return the ways to export this model, the one most likely to be right first.

        ``evaluation`` reads rows beyond the example, for what a model does not keep itself; None
        where there are no others.
        """

    def in_float64(self, source: LoadedSource) -> Callable[[Inputs], dict[str, np.ndarray]] | None:
        """Return `reference_outputs` of the same model computed in float64, as a function of the
        inputs; None where this model, or any of the framework, cannot be.
        """
        return None

    def layer_outputs(self, source: LoadedSource, inputs: Inputs) -> dict[str, np.ndarray]:
        """Return the answers of the layers inside the model, by qualified name, where it has any
        to look into.
        """
        return {}

    def classes(self, source: LoadedSource) -> tuple[str, ...]:
        """Return a classifier's classes, in the order of the columns of its "probabilities"; none
        for anything else.
        """
        return ()
