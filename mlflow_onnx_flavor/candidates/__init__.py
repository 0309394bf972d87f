"""Candidates: the converted model and variants of it that may be faster or smaller.

built = build("fused", conversion.path, conversion.graph, folder)
"""

from __future__ import annotations

import difflib
import importlib
import pkgutil
from collections.abc import Sequence
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import Any

from mlflow_onnx_flavor.candidates.base import (
    BuiltCandidate,
    CandidateError,
    Measuring,
    Optimization,
)
from mlflow_onnx_flavor.errors import ConfigurationError, OnnxFlavorError, one_line
from mlflow_onnx_flavor.onnx_graph.files import MODEL_FILE
from mlflow_onnx_flavor.processes.worker import PRELOADED, Worker
from mlflow_onnx_flavor.schemas.evidence import ExecutionProvider
from mlflow_onnx_flavor.schemas.graph import GraphSpec

CONVERTED = "converted"
BUILD_TIMEOUT_S = 300.0


@cache
def names() -> tuple[str, ...]:
    """Return the names that the configuration's ``candidates`` may list, in alphabetical order.

    They are the modules of this package that are an Optimization.
    """
    found = (each.name for each in pkgutil.iter_modules(__path__))
    return tuple(sorted(name for name in found if _is_optimization(_module(name))))


def check_names(requested: Sequence[str]) -> None:
    """Raise ConfigurationError for the first unknown name, with the nearest known name."""
    for name in requested:
        if name not in names():
            near = difflib.get_close_matches(name, names(), n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(names())}"
            raise ConfigurationError(f"unknown candidate {name!r}; {hint}")


def is_measured(name: str) -> bool:
    """Return whether the candidate ``name`` is built by measuring."""
    return getattr(_module(name), "measured", False)


def build(
    name: str,
    converted: Path,
    graph: GraphSpec,
    out_dir: Path,
    *,
    measuring: Measuring | None = None,
    timeout_s: float = BUILD_TIMEOUT_S,
) -> BuiltCandidate:
    """Build the candidate ``name`` as ``out_dir/model.onnx``, in a child process.

    ``measuring``: what to measure on, for a candidate that is built by measuring (`is_measured`).
    Its ``seconds`` are added to the time limit.

    Raises CandidateError with a one-line reason where the candidate cannot be built, also where the
    child process crashes or takes longer than ``timeout_s``; ConfigurationError for an unknown
    name.
    """
    check_names([name])
    if not is_measured(name):
        measuring = None
    path = out_dir / MODEL_FILE
    out_dir.mkdir(parents=True, exist_ok=True)
    with Worker(name=f"the {name} process", preload=PRELOADED) as worker:
        try:
            built = worker.call(
                "mlflow_onnx_flavor.candidates:build_in_child",
                {
                    "name": name,
                    "converted": converted,
                    "out": path,
                    "measuring": None if measuring is None else _as_arguments(measuring),
                },
                timeout_s=timeout_s + (measuring.seconds if measuring else 0.0),
            )
        except CandidateError:
            raise
        except OnnxFlavorError as error:
            raise CandidateError(one_line(error)) from error
    return BuiltCandidate(
        name, path, graph, built["session_options"], built["description"], built["details"]
    )


def build_in_child(
    name: str, converted: str, out: str, measuring: dict[str, Any] | None = None
) -> dict[str, Any]:
    """Build the candidate as the task of the child process; return the `Built` as a dictionary.

    Raises CandidateError where the candidate cannot be built.
    """
    optimization: Optimization = _module(name)
    basis = None if measuring is None else _from_arguments(measuring)
    return asdict(optimization.build(Path(converted), Path(out), basis))


def _as_arguments(measuring: Measuring) -> dict[str, Any]:
    """Return ``measuring`` in a form that crosses the boundary of a process."""
    return {
        "inputs": measuring.inputs,
        "graph": measuring.graph.model_dump(mode="json"),
        "provider": measuring.provider.model_dump(),
        "batch_sizes": list(measuring.batch_sizes),
        "confidence": measuring.confidence,
        "seconds": measuring.seconds,
    }


def _from_arguments(given: dict[str, Any]) -> Measuring:
    return Measuring(
        inputs=Path(given["inputs"]),
        graph=GraphSpec.model_validate(given["graph"]),
        provider=ExecutionProvider.model_validate(given["provider"]),
        batch_sizes=tuple(given["batch_sizes"]),
        confidence=given["confidence"],
        seconds=given["seconds"],
    )


def _module(name: str) -> Any:
    return importlib.import_module(f"{__name__}.{name}")


def _is_optimization(module: Any) -> bool:
    """Return whether the module is a candidate: it has a name and builds.

    The other modules of this package only support these.
    """
    return hasattr(module, "name") and callable(getattr(module, "build", None))
