"""Calling a PyTorch module with MLflow's inputs, and stable names for what it returns."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import torch

from mlflow_onnx_flavor.frameworks.tabular import MATRIX
from mlflow_onnx_flavor.inputs import Inputs
from mlflow_onnx_flavor.schemas.graph import FeedSpec

OUTPUT = "output"

# Advice about past_key_values: Hugging Face's models return that cache for the next token that
# they generate.
_NO_CACHE = ": set model.config.use_cache = False before it is logged"


@dataclass(frozen=True)
class Call:
    """The arguments of ``module(*args, **kwargs)``.

    ``names`` holds the names of the tensors among the arguments, in the order in which an exporter
    meets them.
    """

    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    names: tuple[str, ...]


def call_of(model: Any, inputs: Inputs) -> Call:
    """Return the call of ``model`` on ``inputs``.

    A DataFrame becomes one float32 matrix, as in MLflow's pyfunc.  Named arrays become keyword
    arguments where ``forward`` has parameters of these names, the one dictionary that ``forward``
    takes where it has a single parameter of another name, and positional arguments in the
    signature's order otherwise.
    """
    data = inputs.data
    if isinstance(data, pd.DataFrame):
        return Call((_tensor(data.to_numpy(dtype=np.float32)),), {}, (MATRIX,))
    if isinstance(data, np.ndarray):
        return Call((_tensor(data),), {}, (MATRIX,))
    tensors = {name: _tensor(array) for name, array in data.items()}
    parameters = parameters_of(model)
    if set(tensors) <= set(parameters):
        return _by_parameter(tensors, parameters)
    if len(parameters) == 1 and _takes_a_dictionary(model, tensors):
        return Call((), {parameters[0]: tensors}, tuple(tensors))
    return Call(tuple(tensors.values()), {}, tuple(tensors))


def named_outputs(model: Any, inputs: Inputs) -> dict[str, np.ndarray]:
    """Return the tensors that ``model`` returns, by name, as arrays of shape (rows, ...)."""
    return answers_of(model, call_of(model, inputs))


def answers_of(model: Any, call: Call) -> dict[str, np.ndarray]:
    """Return the outputs of ``model`` for ``call``, by name, as arrays."""
    return {name: _array(tensor) for name, tensor in _named(run(model, call)).items()}


def answers_within(model: Any, inputs: Inputs) -> dict[str, np.ndarray]:
    """Return the outputs of the modules inside ``model``, by qualified name.

    Only modules that return a single tensor are included.  If a module is called several times, its
    last output counts.
    """
    found: dict[str, np.ndarray] = {}

    def keep(name: str) -> Any:
        def hook(_module: Any, _given: Any, answer: Any) -> None:
            if isinstance(answer, torch.Tensor):
                found[name] = _array(answer)

        return hook

    hooks = [part.register_forward_hook(keep(name)) for name, part in model.named_modules() if name]
    try:
        run(model, call_of(model, inputs))
    finally:
        for hook in hooks:
            hook.remove()
    return found


def tensors_within(model: Any) -> list[Any]:
    """Return parameters and buffers; the state of quantized modules holds more than tensors."""
    return [each for each in model.state_dict().values() if isinstance(each, torch.Tensor)]


def run(model: Any, call: Call) -> Any:
    """Return what the module returns for ``call``, computed without gradients."""
    with torch.no_grad():
        return model(*call.args, **call.kwargs)


def tensors_of(call: Call) -> tuple[Any, ...]:
    """Return the tensors among the arguments, in the order of ``call.names``."""
    found: list[Any] = []
    for value in (*call.args, *call.kwargs.values()):
        found += value.values() if isinstance(value, Mapping) else (value,)
    return tuple(found)


def feeds_of(call: Call, inputs: Inputs, names: Sequence[str]) -> tuple[FeedSpec, ...]:
    """Return the feeds of a graph whose inputs ``names`` stand in the order of ``call.names``."""
    data = inputs.data
    if isinstance(data, pd.DataFrame):
        columns = tuple(map(str, data.columns))
        return (FeedSpec(name=names[0], layout="matrix", dtype="float32", columns=columns),)
    if isinstance(data, np.ndarray):
        return (FeedSpec(name=names[0], layout="tensor", dtype=str(data.dtype)),)
    return tuple(
        FeedSpec(name=name, layout="tensor", dtype=str(data[key].dtype), key=key)
        for name, key in zip(names, call.names, strict=True)
    )


def _by_parameter(tensors: Mapping[str, Any], parameters: tuple[str, ...]) -> Call:
    """Return a positional call if the names are the first parameters, else a call by keyword.

    Every exporter takes positional arguments.
    """
    names = tuple(name for name in parameters if name in tensors)
    if names == parameters[: len(names)]:
        return Call(tuple(tensors[name] for name in names), {}, names)
    return Call((), {name: tensors[name] for name in names}, names)


def parameters_of(model: Any) -> tuple[str, ...]:
    """Return the names of the parameters of ``forward``; none for a torch.export program."""
    if isinstance(model, torch.fx.GraphModule):
        return ()
    if isinstance(model, torch.jit.ScriptModule):
        return tuple(each.name for each in _script_arguments(model)[1:])
    named = inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY
    found = inspect.signature(model.forward).parameters.values()
    return tuple(each.name for each in found if each.kind in named)


def _script_arguments(script: Any) -> Any:
    return script.forward.schema.arguments


def _takes_a_dictionary(model: Any, tensors: Mapping[str, Any]) -> bool:
    """Return whether the one parameter is a dictionary; with several tensors it must be."""
    if isinstance(model, torch.jit.ScriptModule):
        return _script_arguments(model)[1].type.kind() == "DictType"
    return len(tensors) > 1 or "dict" in str(_annotation(model)).lower()


def _annotation(model: Any) -> Any:
    return next(iter(inspect.signature(model.forward).parameters.values())).annotation


def _named(returned: Any) -> dict[str, Any]:
    if isinstance(returned, torch.Tensor):
        return {OUTPUT: returned}
    found = dict(_leaves(returned, ""))
    if not found:
        raise TypeError("the module returns no tensor; ONNX gives back tensors alone")
    return found


def _leaves(value: Any, name: str) -> Iterator[tuple[str, Any]]:
    """Yield the named tensors in nested containers; None, an omitted output, is skipped."""
    if isinstance(value, torch.Tensor):
        yield name, value
    elif isinstance(value, Mapping):
        for key, each in value.items():
            yield from _leaves(each, f"{name}_{key}" if name else str(key))
    elif hasattr(value, "_fields"):  # a named tuple
        for key in value._fields:
            yield from _leaves(getattr(value, key), f"{name}_{key}" if name else key)
    elif isinstance(value, list | tuple):
        for number, each in enumerate(value):
            yield from _leaves(each, f"{name or OUTPUT}_{number}")
    elif value is not None:
        raise TypeError(
            f"the module returns a {type(value).__name__}"
            + (f" as {name!r}" if name else "")
            + "; ONNX takes tensors, alone or in tuples and dictionaries"
            + (_NO_CACHE if name == "past_key_values" else "")
        )


def _tensor(array: np.ndarray) -> Any:
    """Return a copy as a tensor: a module that works in place must not change the inputs."""
    return torch.from_numpy(np.array(array, order="C"))


def _array(tensor: Any) -> np.ndarray:
    tensor = tensor.detach().cpu()
    return (tensor.float() if tensor.dtype is torch.bfloat16 else tensor).numpy()
