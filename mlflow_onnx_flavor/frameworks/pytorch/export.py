"""Export a PyTorch module to ONNX, with every size right or a refusal (see `other_sizes`)."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mlflow_onnx_flavor.errors import NotExportableError
from mlflow_onnx_flavor.frameworks.base import Export
from mlflow_onnx_flavor.frameworks.other_sizes import EXAMPLE_ROWS, alike
from mlflow_onnx_flavor.frameworks.pytorch.calls import Call, call_of, feeds_of, named_outputs
from mlflow_onnx_flavor.frameworks.pytorch.causes import cause_of
from mlflow_onnx_flavor.frameworks.pytorch.checks import (
    check_sizes,
    refuse_parameters,
    refuse_without_rows,
)
from mlflow_onnx_flavor.frameworks.pytorch.compat import program_of_script
from mlflow_onnx_flavor.frameworks.pytorch.fast_paths import decompositions
from mlflow_onnx_flavor.frameworks.pytorch.floats import floats_of
from mlflow_onnx_flavor.frameworks.pytorch.operators.table import translations
from mlflow_onnx_flavor.frameworks.pytorch.padding import padding_as_zeros
from mlflow_onnx_flavor.frameworks.pytorch.portable import portable
from mlflow_onnx_flavor.frameworks.pytorch.simplify import simplify
from mlflow_onnx_flavor.frameworks.signature_shapes import shape_in
from mlflow_onnx_flavor.frameworks.tensor_names import graph_inputs
from mlflow_onnx_flavor.inputs import Inputs
from mlflow_onnx_flavor.onnx_graph.exporter_text import plain
from mlflow_onnx_flavor.onnx_graph.float32 import compute_in_float32

DYNAMO_OPSET = 20
TORCHSCRIPT_OPSET = 17
BATCH_AXIS = "batch"

# protobuf stops at 2 GiB; below this the weights stay in the one file.
MAX_EMBEDDED_BYTES = 1_500_000_000


class Exporter:
    """Exports one module.

    ``example``: rows, any number of them.  ``signature``: MLflow's, whose axes of -1 vary.
    """

    def __init__(self, model: Any, example: Inputs, signature: Any):
        self._model, self._example, self._signature = model, example, signature
        self._narrowed: frozenset[str] = frozenset()

    def in_float32(self, dtypes: frozenset[str]) -> Exporter:
        """As this one, with what the module computes in ``dtypes`` in float32."""
        narrowed = copy.copy(self)
        narrowed._narrowed = dtypes
        return narrowed

    def dynamo(self, path: Path) -> Export:
        """`torch.onnx.export` by way of `torch.export`."""
        call, outputs = self._called()
        with self._explained():
            program = self._exported(self._model, call, outputs)
        return self._saved(program, path, call, outputs)

    def script(self, path: Path) -> Export:
        """TorchScript's exporter, on the module's own script or on one compiled from it."""
        import torch

        call, outputs = self._called()
        inputs = graph_inputs(call.names, outputs)
        axes = {name: {0: BATCH_AXIS} for name in outputs}
        axes |= dict(zip(inputs, map(self._dynamic_axes, call.names), strict=True))
        script = _compiled(self._model)
        with self._explained():
            torch.onnx.export(
                _taking_only(call, script),
                (*call.args, *call.kwargs.values()),
                str(path),
                dynamo=False,
                input_names=list(inputs),
                output_names=list(outputs),
                dynamic_axes=axes,
                opset_version=TORCHSCRIPT_OPSET,
            )
        _gather_weights(path)
        return self._checked(path, call, outputs)

    def script_to_program(self, path: Path) -> Export:
        """A script turned into a torch.export program, its branches into `torch.cond`."""
        call, outputs = self._called()
        tensors = (*call.args, *call.kwargs.values())
        with self._explained():
            script = _taking_only(call, self._model)
            converted = program_of_script(script, tensors)
            whole = converted.run_decompositions(decompositions()).module()
            program = self._exported(whole, Call(tensors, {}, call.names), outputs)
        return self._saved(program, path, call, outputs)

    def _exported(self, module: Any, call: Call, outputs: tuple[str, ...]) -> Any:
        import torch

        with portable(), padding_as_zeros():
            program = torch.onnx.export(
                module,
                call.args,
                kwargs=dict(call.kwargs),
                dynamo=True,
                dynamic_shapes=self._dynamic_shapes(call),
                input_names=list(graph_inputs(call.names, outputs)),
                output_names=list(outputs),
                opset_version=DYNAMO_OPSET,
                custom_translation_table=translations(),
                optimize=False,
                verbose=False,
            )
        assert program is not None  # it is for dynamo=True
        simplify(program.model)
        return program

    def _saved(self, program: Any, path: Path, call: Call, outputs: tuple[str, ...]) -> Export:
        _drop_traces(program.model)
        program.save(str(path), external_data=_weight_bytes(program.model) > MAX_EMBEDDED_BYTES)
        return self._checked(path, call, outputs, program)

    @contextmanager
    def _explained(self) -> Iterator[None]:
        """Without gradients; and say in one line why an exporter gave up, where it wrote a page."""
        import torch

        try:
            with torch.no_grad():
                yield
        except Exception as error:  # exporters let through whatever a module's code raises
            raise NotExportableError(cause_of(error, self._model)) from error

    def _called(self) -> tuple[Call, tuple[str, ...]]:
        """The call on the example, and the names of what it returns."""
        refuse_parameters(self._model, self._signature)
        rows = self._example.batch(EXAMPLE_ROWS)
        try:
            once, again = (named_outputs(self._model, rows) for _ in range(2))
        except (RuntimeError, AssertionError) as error:
            raise NotExportableError(
                f"the model does not take a batch of {EXAMPLE_ROWS} rows"
                f" ({cause_of(error, self._model)}); log it so that the batch axis can vary"
                " (-1 as the first axis in its signature)"
            ) from error
        refuse_without_rows(once, f"a batch of {EXAMPLE_ROWS}")
        if not all(alike(array, again[name]) for name, array in once.items()):
            raise NotExportableError(
                "the module answers the same rows differently from call to call;"
                f" {_how_to_be_the_same(self._model)}"
            )
        return call_of(self._model, rows), tuple(once)

    def _dynamic_shapes(self, call: Call) -> Any:
        """The axes that vary, in the structure of the arguments."""
        axes = {name: self._dynamic_axes(name) for name in call.names}
        if call.args:
            return tuple(axes[name] for name in call.names)
        return {
            parameter: (
                {name: axes[name] for name in value}
                if isinstance(value, Mapping)
                else axes[parameter]
            )
            for parameter, value in call.kwargs.items()
        }

    def _dynamic_axes(self, name: str) -> dict[int, str]:
        """The first axis, and those that the signature gives as -1."""
        shape = shape_in(self._signature, name)
        others = {axis: f"{name}_axis_{axis}" for axis, size in enumerate(shape) if size == -1}
        return {**others, 0: BATCH_AXIS}

    def _checked(
        self, path: Path, call: Call, outputs: tuple[str, ...], program: Any = None
    ) -> Export:
        """Refuse a graph that answers otherwise than the module at a size that it takes."""
        if self._narrowed:
            compute_in_float32(path, self._narrowed, MAX_EMBEDDED_BYTES)
        floats = floats_of(self._model, self._example.batch(EXAMPLE_ROWS))
        taken = check_sizes(self._model, self._example, path, call, outputs, floats, program)
        feeds = feeds_of(call, self._example, graph_inputs(call.names, outputs))
        return Export(
            feeds=tuple(feed for feed in feeds if feed.name in taken),
            outputs=outputs,
            prediction=outputs,
        )


def _compiled(model: Any) -> Any:
    """``model`` as a ScriptModule."""
    import torch

    try:
        return torch.jit.script(model)
    except Exception as error:  # compilers let through whatever a module's code raises
        reason = plain(str(error)).partition("\n")[0].partition(". ")[0].rstrip(" .:")
        raise NotExportableError(
            f"torch.jit.script does not compile the module: {reason}"
        ) from error


def _taking_only(call: Call, script: Any) -> Any:
    """``script`` without the parameters that ``call`` leaves at their defaults.

    TorchScript's exporter fills those in and then refuses the None that most of them are.
    """
    import torch

    if len(script.forward.schema.arguments) - 1 == len(call.names):
        return script
    names = [f"input_{number}" for number in range(len(call.names))]
    given = (*names[: len(call.args)], *map("{}={}".format, call.kwargs, names[len(call.args) :]))
    # A class of its own: TorchScript keeps one type per class, with one forward.
    only = type("Only", (torch.nn.Module,), {})()
    only.whole = script
    only = torch.jit.script(only)
    body = f"return self.whole({', '.join(given)})"
    only.define(f"def forward(self, {', '.join(names)}):\n    {body}\n")
    return only.eval()


def _how_to_be_the_same(model: Any) -> str:
    import torch

    if isinstance(model, torch.fx.GraphModule):
        return "a pt2 program keeps the mode it was made in, so call module.eval() and log it again"
    return "take what is random, or remembered from earlier calls, out of its eval mode"


def _drop_traces(model: Any) -> None:
    """Drop the notes that repeat the source's code and its paths on this machine.

    The names of the modules that each node comes from stay.
    """
    for node in model.graph.all_nodes():
        for key in ("pkg.torch.onnx.stack_trace", "pkg.torch.onnx.fx_node"):
            node.metadata_props.pop(key, None)


def _weight_bytes(model: Any) -> int:
    values = (each.const_value for each in model.graph.initializers.values())
    return sum(value.nbytes for value in values if value is not None)


def _gather_weights(path: Path) -> None:
    """Put weights that TorchScript's exporter scattered, a file each, into one beside the graph.

    It does so of its own accord where the model passes 2 GiB.
    """
    import onnx
    from onnx.external_data_helper import ExternalDataInfo, uses_external_data

    weights = onnx.load(str(path), load_external_data=False).graph.initializer
    scattered = {ExternalDataInfo(each).location for each in weights if uses_external_data(each)}
    if not scattered:
        return
    model = onnx.load(str(path))
    for location in scattered:
        (path.parent / location).unlink()
    onnx.save_model(
        model,
        str(path),
        save_as_external_data=True,
        all_tensors_to_one_file=True,
        location=f"{path.name}.data",
    )
