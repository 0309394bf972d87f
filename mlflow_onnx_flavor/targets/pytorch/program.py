"""Programs: export the module that runs an ONNX graph as a torch program, and open one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch

from mlflow_onnx_flavor.errors import UnsupportedModelError, one_line
from mlflow_onnx_flavor.targets.base import Arrays, Request, Run
from mlflow_onnx_flavor.targets.pytorch.module import GraphModule

# Stored inside the program's file: torch itself does not keep the names of outputs.
_NAMES = "names.json"


def exported(request: Request, path: Path) -> None:
    """Write the program of ``request.model`` with every open axis of its inputs kept open.

    Raises UnsupportedModelError for an operator without a rule, and for an axis that the graph
    fixes although it declares it open.
    """
    import onnx

    model = onnx.load(str(request.model))
    module = GraphModule(model).eval()
    example = {name: torch.from_numpy(array.copy()) for name, array in request.example.items()}
    arguments = tuple(example[name] for name in module.inputs)
    open_axes = _open_axes(model, module.inputs)
    try:
        with torch.no_grad():
            program = torch.export.export(
                module, arguments, dynamic_shapes={"arguments": tuple(open_axes)}
            )
    except UnsupportedModelError:
        raise
    except Exception as error:  # torch.export raises many kinds without a common base
        if isinstance(error.__cause__, UnsupportedModelError):
            raise error.__cause__ from error
        raise UnsupportedModelError(_why(error, model, module.inputs)) from error
    names = {"inputs": module.inputs, "outputs": module.outputs}
    torch.export.save(program, path, extra_files={_NAMES: json.dumps(names)})


def _why(error: Exception, model: Any, inputs: list[str]) -> str:
    axes = [
        f"{name}[{axis}]"
        for name, dims in zip(inputs, _open_axes(model, inputs), strict=True)
        for axis in dims
    ]
    text = str(error)
    if axes and any(word in text for word in ("Constraint", "specialized", "data-dependent")):
        return (
            f"torch.export cannot leave the axes {', '.join(axes)} open ({one_line(error)}); fix"
            " them with --fix NAME=SIZE"
        )
    return f"torch.export does not take the graph: {one_line(error)}"


def _open_axes(model: Any, inputs: list[str]) -> list[dict[int, Any]]:
    declared = {each.name: each.type.tensor_type.shape.dim for each in model.graph.input}
    return [
        {
            axis: torch.export.Dim.DYNAMIC
            for axis, dim in enumerate(declared[name])
            if not dim.HasField("dim_value")
        }
        for name in inputs
    ]


def opened(path: Path) -> Run:
    """Return the program in ``path`` as a function from arrays to arrays."""
    extra = {_NAMES: ""}
    module = torch.export.load(path, extra_files=extra).module()
    names = json.loads(extra[_NAMES])

    def run(inputs: Arrays) -> dict:
        tensors = [torch.from_numpy(inputs[name].copy()) for name in names["inputs"]]
        with torch.inference_mode():
            answers = module(*tensors)
        if len(names["outputs"]) == 1:
            answers = (answers,)
        return {name: value.numpy() for name, value in zip(names["outputs"], answers, strict=True)}

    return run
