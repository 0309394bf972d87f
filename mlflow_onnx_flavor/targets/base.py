"""The interface of a target: another runtime or a readable form than ONNX Runtime's own file."""

from __future__ import annotations

import importlib.util
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from mlflow_onnx_flavor.errors import MissingFrameworkError

if TYPE_CHECKING:
    from mlflow.models import Model

Arrays = Mapping[str, np.ndarray]
Run = Callable[[Arrays], dict[str, np.ndarray]]


@dataclass(frozen=True)
class Request:
    """The model to write and how to write it.

    ``model``: the ONNX file, with its external data beside it.  ``example``: an array for each
    input of the graph, all with the same rows.  ``precision``: "float32", or "float16" if the
    target can store weights so.
    """

    model: Path
    example: Arrays = field(default_factory=dict)
    precision: str = "float32"


class Target(ABC):
    """One target: the object ``target`` of a module of this package, whose name is the target's.

    ``modules``: what must be importable; ``extra``: the extra of this package that installs it.
    ``cannot``: a phrase on what the target cannot express.  ``lowers``: whether operators of
    ai.onnx.ml are rewritten into ordinary ones first.  ``lossless``: whether reading the form back
    gives the same model.  ``precisions``: those that weights can be stored in.
    """

    description: str = ""
    modules: tuple[str, ...] = ()
    extra: str = ""
    cannot: str = ""
    lowers: bool = True
    lossless: bool = False
    precisions: tuple[str, ...] = ("float32",)

    @abstractmethod
    def write(self, request: Request, folder: Path) -> None:
        """Write the model into ``folder``, which is empty; runs in a child process.

        Raises UnsupportedModelError, naming the operator or the axis, for what the target cannot
        express.
        """

    @abstractmethod
    def load(self, folder: Path) -> Run:
        """Return a function from inputs to outputs that runs what `write` wrote.

        It uses the target alone, and runs in a child process.
        """

    def versions(self) -> dict[str, str]:
        """Return the versions of the libraries that the target runs with."""
        return {}

    def describe(self, folder: Path, model: Model) -> bool:
        """Add to ``model`` the fields that load ``folder`` as an MLflow model.

        ``model`` is an MLmodel file before it is written.  Returns False if the target is for
        reading only.
        """
        return False


def check_installed(name: str, target: Target) -> None:
    """Raise MissingFrameworkError, with what to install, if a module is missing."""
    missing = [each for each in target.modules if importlib.util.find_spec(each) is None]
    if missing:
        raise MissingFrameworkError(
            f"the target {name!r} needs {' and '.join(missing)}, which is not installed; run"
            f" pip install 'mlflow-onnx-flavor[{target.extra}]'"
        )
