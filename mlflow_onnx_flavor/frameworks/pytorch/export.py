"""Export of a PyTorch module to ONNX: correct at every size, or refused (see `other_sizes`)."""

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

# A protobuf message has at most 2 GiB; up to this size the weights stay within the ONNX file.
MAX_EMBEDDED_BYTES = 1_500_000_000


class Exporter:
    """Exporter of one module.

    ``example`` holds any number of rows.  ``signature`` is MLflow's; its axes of size -1 are
    dynamic.
    """

    def __init__(self, model: Any, example: Inputs, signature: Any):
        self._model, self._example, self._signature = model, example, signature
        self._narrowed: frozenset[str] = frozenset()

    def in_float32(self, dtypes: frozenset[str]) -> Exporter:
        """Return a copy of this exporter whose graphs use float32 in place of ``dtypes``."""
        narrowed = copy.copy(self)
        narrowed._narrowed = dtypes
        return narrowed

    def dynamo(self, path: Path) -> Export:
        """Export with `torch.onnx.export` by way of `torch.export`."""
        call, outputs = self._called()
        with self._explained():
            program = self._exported(self._model, call, outputs)
        return self._saved(program, path, call, outputs)

    def script(self, path: Path) -> Export:
        """Export with TorchScript's exporter, from the module if it is a script, else compiled."""
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
        """Export a script as a torch.export program, with its branches as `torch.cond`."""
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

        inputs = list(graph_inputs(call.names, outputs))
        with portable(), padding_as_zeros():
            program = torch.onnx.export(
                module,
                call.args,
                kwargs=dict(call.kwargs),
                dynamo=True,
                dynamic_shapes=self._dynamic_shapes(call),
                input_names=inputs,
                output_names=list(outputs),
                opset_version=DYNAMO_OPSET,
                custom_translation_table=translations(),
                optimize=False,
                verbose=False,
            )
        assert program is not None, "torch.onnx.export returns a program under dynamo=True"
        simplify(program.model, inputs, outputs)
        return program

    def _saved(self, program: Any, path: Path, call: Call, outputs: tuple[str, ...]) -> Export:
        _drop_traces(program.model)
        program.save(str(path), external_data=_weight_bytes(program.model) > MAX_EMBEDDED_BYTES)
        return self._checked(path, call, outputs, program)

    @contextmanager
    def _explained(self) -> Iterator[None]:
        """Run the body without gradients and raise its errors as NotExportableError.

        The message gives the cause in one line, where an exporter writes a page.
        """
        import torch

        try:
            with torch.no_grad():
                yield
        except Exception as error:  # exporters let through whatever a module's code raises
            raise NotExportableError(cause_of(error, self._model)) from error

    def _called(self) -> tuple[Call, tuple[str, ...]]:
        """Return the call on the example and the names of the outputs.

        Raises NotExportableError if the module rejects the batch, returns an output without an axis
        of rows, or is not deterministic.
        """
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
        """Return the dynamic axes, nested as the arguments are."""
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
        """Return names for the dynamic axes: the first, and those of size -1 in the signature."""
        shape = shape_in(self._signature, name)
        others = {axis: f"{name}_axis_{axis}" for axis, size in enumerate(shape) if size == -1}
        return {**others, 0: BATCH_AXIS}

    def _checked(
        self, path: Path, call: Call, outputs: tuple[str, ...], program: Any = None
    ) -> Export:
        """Return the export; raise NotExportableError where it differs from the module."""
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
    """Return ``model`` as a ScriptModule; raise NotExportableError if it does not compile."""
    import torch

    try:
        return torch.jit.script(model)
    except Exception as error:  # compilers let through whatever a module's code raises
        reason = plain(str(error)).partition("\n")[0].partition(". ")[0].rstrip(" .:")
        raise NotExportableError(
            f"torch.jit.script does not compile the module: {reason}"
        ) from error


def _taking_only(call: Call, script: Any) -> Any:
    """Return ``script`` without the parameters that ``call`` leaves at their defaults.

    TorchScript's exporter passes the defaults itself and then rejects None, which most of them
    are.
    """
    import torch

    if len(script.forward.schema.arguments) - 1 == len(call.names):
        return script
    names = [f"input_{number}" for number in range(len(call.names))]
    given = (*names[: len(call.args)], *map("{}={}".format, call.kwargs, names[len(call.args) :]))
    # A new class for each call: TorchScript keeps one type, with one forward, for each class.
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
    """Remove the metadata that repeats the module's source code and its paths on this machine.

    The names of the modules from which each node comes are kept.
    """
    for node in model.graph.all_nodes():
        for key in ("pkg.torch.onnx.stack_trace", "pkg.torch.onnx.fx_node"):
            node.metadata_props.pop(key, None)


def _weight_bytes(model: Any) -> int:
    values = (each.const_value for each in model.graph.initializers.values())
    return sum(value.nbytes for value in values if value is not None)


def _gather_weights(path: Path) -> None:
    """Merge weights that TorchScript's exporter wrote to one file each into one file.

    The exporter writes separate files of its own accord for a model beyond 2 GiB.  The merged file
    lies beside the graph.
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
