"""The interface of a framework's implementation, ``frameworks/X/framework.py``.

The implementation runs in a child process (`source.tasks`), the only process that imports the
framework and may execute a model's pickle.
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

    ``native`` is the framework's own object, and ``pyfunc`` the same artifact as MLflow serves it.
    ``path`` is the folder with the MLmodel file, and ``flavor`` the configuration of its flavor.
    """

    native: Any
    pyfunc: Any
    path: Path
    flavor: Mapping[str, Any]


def pyfunc_of(path: Path | str, model_config: dict[str, Any] | None = None) -> Any:
    """Return the artifact as MLflow serves it, with ``model_config``.

    MLflow's own comparison of the requirements with the installed packages is left out: it reads
    the metadata of every package, for more than a second, for a log that nobody reads here.
    `source.environment` reports the differences.
    """
    import mlflow.pyfunc

    # Code is imported from the artifact's folder, into which Python must not write its caches.
    sys.dont_write_bytecode = True
    return mlflow.pyfunc.load_model(str(path), suppress_warnings=True, model_config=model_config)


@dataclass(frozen=True)
class Export:
    """The result of a strategy: the feeds and outputs of the file that it wrote.

    ``outputs``: graph outputs in the graph's order, named as in `Framework.reference_outputs`.
    ``prediction``: the outputs that make up the pyfunc's prediction; there are several only if the
    pyfunc returns a dictionary, or a DataFrame with one column for each; ``keys`` are their names
    there.
    ``lengths``: an output of integers, shape (rows,), for a pyfunc that returns the first row
    alone; it holds the number of entries of the row that the pyfunc returns.
    """

    feeds: tuple[FeedSpec, ...]
    outputs: tuple[str, ...]
    prediction: tuple[str, ...]
    keys: Mapping[str, str] = field(default_factory=dict)
    lengths: str = ""


@dataclass(frozen=True)
class Strategy:
    """One way to export: ``export(path)`` writes the ONNX file there; it may raise anything."""

    name: str
    why: str
    export: Callable[[Path], Export]
    exporter: str  # the distribution that does the work, for its version


MoreRows = Callable[[], Inputs | None]


def no_more_rows() -> Inputs | None:
    """Return None: there are no rows beyond the example."""
    return None


class Framework(ABC):
    """The implementation of one source framework, imported only in a model's child process."""

    @abstractmethod
    def load(self, path: Path, flavor: Mapping[str, Any]) -> LoadedSource:
        """Load the source model from the folder with its MLmodel file."""

    @abstractmethod
    def reference_outputs(self, source: LoadedSource, inputs: Inputs) -> dict[str, np.ndarray]:
        """Return every output of the source model by name, each of shape (rows, ...)."""

    @abstractmethod
    def strategies(
        self, source: LoadedSource, example: Inputs, evaluation: MoreRows = no_more_rows
    ) -> list[Strategy]:
        """Return the ways to export this model, the one most likely to be right first.

        ``evaluation`` returns rows beyond the example, for facts that a model does not store
        itself, or None if there are no other rows.
        """

    def in_float64(self, source: LoadedSource) -> Callable[[Inputs], dict[str, np.ndarray]] | None:
        """Return a function like `reference_outputs` that computes the model in float64.

        None if this model, or every model of the framework, has no float64 form.
        """
        return None

    def layer_outputs(self, source: LoadedSource, inputs: Inputs) -> dict[str, np.ndarray]:
        """Return the outputs of the layers inside the model, by qualified name.

        The result is empty for a model without layers.
        """
        return {}

    def classes(self, source: LoadedSource) -> tuple[str, ...]:
        """Return a classifier's classes, in the order of the columns of its "probabilities".

        The result is empty for a model that is not a classifier.
        """
        return ()
