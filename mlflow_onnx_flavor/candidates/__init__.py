"""Candidates: the converted model and variants of it that may be faster or smaller.

built = build("fused", conversion.path, conversion.graph, folder)
"""

from __future__ import annotations

import difflib
import importlib
import pkgutil
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

from mlflow_onnx_flavor.candidates.base import BuiltCandidate, CandidateError, Optimization
from mlflow_onnx_flavor.errors import ConfigurationError, OnnxFlavorError
from mlflow_onnx_flavor.graph_spec import GraphSpec
from mlflow_onnx_flavor.worker import Worker

CONVERTED = "converted"
BUILD_TIMEOUT_S = 300.0


@cache
def names() -> tuple[str, ...]:
    """What the configuration's ``candidates`` may name: every module here that is an Optimization,
    in alphabetical order.
    """
    found = (each.name for each in pkgutil.iter_modules(__path__))
    return tuple(sorted(name for name in found if _is_optimization(_module(name))))


def check_names(requested: Sequence[str]) -> None:
    """Raise ConfigurationError for the first name that is unknown, with the nearest known one."""
    for name in requested:
        if name not in names():
            near = difflib.get_close_matches(name, names(), n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(names())}"
            raise ConfigurationError(f"unknown candidate {name!r}; {hint}")


def build(
    name: str,
    converted: Path,
    graph: GraphSpec,
    out_dir: Path,
    *,
    timeout_s: float = BUILD_TIMEOUT_S,
) -> BuiltCandidate:
    """Build the candidate ``name`` as ``out_dir/model.onnx``, in a child process.

    Raises CandidateError with one line on why where it cannot be built, also where the child
    crashes or takes longer than ``timeout_s``; ConfigurationError for a name that is unknown.
    """
    check_names([name])
    path = out_dir / "model.onnx"
    out_dir.mkdir(parents=True, exist_ok=True)
    with Worker(name=f"the {name} process") as worker:
        try:
            built = worker.call(
                "mlflow_onnx_flavor.candidates:build_in_child",
                {"name": name, "converted": converted, "out": path},
                timeout_s=timeout_s,
            )
        except OnnxFlavorError as error:
            raise CandidateError(str(error).strip().partition("\n")[0]) from error
    if "cannot" in built:
        raise CandidateError(built["cannot"])
    return BuiltCandidate(name, path, graph, built["session_options"], built["description"])


def build_in_child(name: str, converted: str, out: str) -> dict[str, Any]:
    """The task: build, and say what was built, or why it cannot be."""
    optimization: Optimization = _module(name)
    try:
        built = optimization.build(Path(converted), Path(out))
    except CandidateError as error:
        return {"cannot": str(error)}
    return {"description": built.description, "session_options": built.session_options}


def _module(name: str) -> Any:
    return importlib.import_module(f"{__name__}.{name}")


def _is_optimization(module: Any) -> bool:
    """A module that says its name and builds; the others here only support these."""
    return hasattr(module, "name") and callable(getattr(module, "build", None))
