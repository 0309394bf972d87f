"""PyTorch: modules as `mlflow.pytorch` stores them (pt2 programs, pickles, ScriptModules).

Outputs: "output" of a module that returns one tensor, "output_0", ... of a tuple, the keys of a
dictionary.  Always in eval mode, as MLflow's pyfunc runs them.

An eager module is never traced by the TorchScript exporter: that takes one arm of a data-dependent
branch and says nothing.  The dynamo exporter refuses such a branch; scripting keeps both arms.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from mlflow_onnx_flavor.frameworks.base import Export, LoadedSource, Strategy
from mlflow_onnx_flavor.frameworks.columns import MATRIX
from mlflow_onnx_flavor.graph_spec import FeedSpec
from mlflow_onnx_flavor.inputs import Inputs

flavor = "pytorch"
extra = "torch"
modules = ("torch", "onnxscript")
distributions = ("torch", "onnxscript", "onnx", "numpy")

# torch.export takes a batch of 0 or 1 for a constant; two rows show that the axis varies.
EXAMPLE_ROWS = 2
DYNAMO_OPSET = 20
TORCHSCRIPT_OPSET = 17


def load(path: Path, flavor: Mapping[str, Any]) -> LoadedSource:
    """Load what `mlflow.pytorch` stored, in eval mode."""
    import mlflow.pyfunc
    import mlflow.pytorch
    import torch

    torch.set_grad_enabled(False)
    native = mlflow.pytorch.load_model(str(path), map_location="cpu")
    return LoadedSource(_in_eval_mode(native), mlflow.pyfunc.load_model(str(path)), path, flavor)


def reference_outputs(source: LoadedSource, inputs: Inputs) -> dict[str, np.ndarray]:
    """Every tensor that the module returns, by name, on the CPU."""
    return {
        name: tensor.detach().cpu().numpy()
        for name, tensor in _named(_run(source.native, _tensors(inputs))).items()
    }


def strategies(source: LoadedSource, example: Inputs) -> list[Strategy]:
    """The dynamo exporter for programs and eager modules, TorchScript's for script modules."""
    import torch

    model = source.native
    if isinstance(model, torch.jit.ScriptModule):
        return [
            Strategy(
                "torchscript",
                "a ScriptModule holds its own graph, with both arms of every branch",
                lambda path: _export_torchscript(model, example, path),
                "torch",
            )
        ]
    return [
        Strategy(
            "dynamo",
            "PyTorch's own exporter; refuses a branch that depends on data",
            lambda path: _export_dynamo(model, example, path),
            "torch",
        ),
        Strategy(
            "scripted",
            "compiled with torch.jit.script, which keeps both arms of a branch",
            lambda path: _export_torchscript(torch.jit.script(model), example, path),
            "torch",
        ),
    ]


def _export_dynamo(model: Any, example: Inputs, path: Path) -> Export:
    import torch

    tensors = _tensors(example.batch(EXAMPLE_ROWS))
    outputs = tuple(_named(_run(model, tensors)))
    dynamic = tuple({0: torch.export.Dim.DYNAMIC} for _ in tensors)
    program = torch.onnx.export(
        model,
        tensors,
        dynamo=True,
        dynamic_shapes=dynamic,
        input_names=_names(example),
        output_names=list(outputs),
        opset_version=DYNAMO_OPSET,
        verbose=False,
    )
    program.save(str(path), external_data=False)
    return Export(feeds=_feeds(example), outputs=outputs, prediction=outputs)


def _export_torchscript(model: Any, example: Inputs, path: Path) -> Export:
    import torch

    tensors = _tensors(example.batch(EXAMPLE_ROWS))
    outputs = tuple(_named(_run(model, tensors)))
    names = _names(example)
    torch.onnx.export(
        model,
        tensors,
        str(path),
        dynamo=False,
        input_names=names,
        output_names=list(outputs),
        dynamic_axes={name: {0: "batch"} for name in (*names, *outputs)},
        opset_version=TORCHSCRIPT_OPSET,
    )
    return Export(feeds=_feeds(example), outputs=outputs, prediction=outputs)


def _in_eval_mode(model: Any) -> Any:
    """``model`` in eval mode; a program from torch.export has none and was traced in one."""
    import torch

    if isinstance(model, torch.export.ExportedProgram):
        return model.module()
    try:
        return model.eval()
    except NotImplementedError:  # the module of an ExportedProgram: its mode is fixed
        return model


def _tensors(inputs: Inputs) -> tuple[Any, ...]:
    """Positional tensors, as MLflow's pyfunc makes them: a frame is one float32 matrix."""
    import torch

    data = inputs.data
    if isinstance(data, pd.DataFrame):
        return (torch.from_numpy(data.to_numpy(dtype=np.float32)),)
    if isinstance(data, np.ndarray):
        return (torch.from_numpy(np.ascontiguousarray(data)),)
    return tuple(torch.from_numpy(np.ascontiguousarray(array)) for array in data.values())


def _run(model: Any, tensors: tuple[Any, ...]) -> Any:
    import torch

    with torch.no_grad():
        return model(*tensors)


def _named(output: Any) -> dict[str, Any]:
    """The returned tensors by stable names."""
    import torch

    if isinstance(output, torch.Tensor):
        return {"output": output}
    if isinstance(output, Mapping):
        return {str(name): tensor for name, tensor in output.items()}
    if isinstance(output, list | tuple):
        return {f"output_{number}": tensor for number, tensor in enumerate(output)}
    raise TypeError(
        f"the module returns a {type(output).__name__}; ONNX takes a tensor, or a tuple or"
        " dictionary of tensors"
    )


def _names(inputs: Inputs) -> list[str]:
    return list(inputs.data) if isinstance(inputs.data, dict) else [MATRIX]


def _feeds(inputs: Inputs) -> tuple[FeedSpec, ...]:
    data = inputs.data
    if isinstance(data, pd.DataFrame):
        columns = tuple(map(str, data.columns))
        return (FeedSpec(name=MATRIX, layout="matrix", dtype="float32", columns=columns),)
    if isinstance(data, np.ndarray):
        return (FeedSpec(name=MATRIX, layout="tensor", dtype=str(data.dtype)),)
    return tuple(
        FeedSpec(name=name, layout="tensor", dtype=str(array.dtype), key=name)
        for name, array in data.items()
    )
