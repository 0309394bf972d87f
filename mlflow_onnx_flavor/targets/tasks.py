"""Tasks of the processes beside a target's own: write a model, and open ONNX Runtime's."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from mlflow_onnx_flavor import targets
from mlflow_onnx_flavor.artifact.saved_model import graph_file
from mlflow_onnx_flavor.errors import UnsupportedModelError
from mlflow_onnx_flavor.inputs import Inputs
from mlflow_onnx_flavor.onnx_graph.lowering import lower, ml_operators
from mlflow_onnx_flavor.targets.base import Arrays, Request, Target
from mlflow_onnx_flavor.targets.reference import open_model
from mlflow_onnx_flavor.targets.runner import opened

_open: dict[str, Any] = {}


def write(
    target: str, model: str, folder: str, example: Arrays, fixed: Mapping[str, int], precision: str
) -> dict[str, Any]:
    """Write ``model`` for ``target`` into ``folder``.

    ``example``: see `base.Request`.  ``fixed``: sizes of open axes by their name.  Returns
    ``{"labels", "replaced", "versions"}``, the first two as in `lowering.LoweredModel`.
    """
    chosen, path = targets.get(target), Path(model)
    prepared, facts = _prepared(chosen, path, Path(folder), fixed)
    chosen.write(Request(prepared, dict(example), precision), Path(folder))
    if prepared != path:
        prepared.unlink()
    return facts | {"versions": chosen.versions()}


def _prepared(
    target: Target, path: Path, folder: Path, fixed: Mapping[str, int]
) -> tuple[Path, dict[str, Any]]:
    """Return the file to write from: ``path`` itself, or another beside its external data."""
    import onnx

    facts: dict[str, Any] = {"labels": {}, "replaced": {}}
    model = onnx.load(str(path), load_external_data=False)
    changed = _fix_axes(model, fixed)
    if target.lowers:
        if ml_operators(model) and any(each.external_data for each in model.graph.initializer):
            onnx.load_external_data_for_model(model, str(path.parent))
        lowered = lower(model)
        facts = {
            "labels": {name: list(texts) for name, texts in lowered.labels.items()},
            "replaced": dict(lowered.replaced),
        }
        changed = changed or bool(lowered.replaced or lowered.labels)
        model = lowered.model
    if not changed:
        return path, facts
    other = path.with_name(f".{folder.name}.lowered.onnx")
    other.write_bytes(model.SerializeToString())
    return other, facts


def _fix_axes(model: Any, fixed: Mapping[str, int]) -> bool:
    known = {
        dim.dim_param
        for value in model.graph.input
        for dim in value.type.tensor_type.shape.dim
        if dim.dim_param
    }
    for name in fixed:
        if name not in known:
            raise UnsupportedModelError(
                f"the model has no open axis {name!r} to fix; it has"
                f" {', '.join(sorted(known)) or 'none'}"
            )
    for value in (*model.graph.input, *model.graph.output, *model.graph.value_info):
        for dim in value.type.tensor_type.shape.dim:
            if dim.dim_param in fixed:
                dim.dim_value = fixed[dim.dim_param]
    return bool(fixed)


def open_reference(model: str) -> dict[str, Any]:
    """Open the ONNX model on the CPU."""
    import onnxruntime

    from mlflow_onnx_flavor.scoring import load_session

    opened(open_model(graph_file(model)))
    _open["session"] = load_session(model)
    return {"onnxruntime": onnxruntime.__version__}


def feeds(inputs_path: str, rows: int | None = None) -> dict[str, np.ndarray]:
    """Return the graph's inputs for the rows of a file, as the logged model would receive them."""
    inputs = Inputs.load(Path(inputs_path))
    some = inputs if rows is None else inputs.take(slice(0, rows))
    return dict(_open["session"].feeds(some.data))
