"""Export a PyTorch module to ONNX, with every size right or a refusal (see `other_sizes`)."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from mlflow_onnx_flavor.frameworks.base import Export
from mlflow_onnx_flavor.frameworks.narrowing import compute_in_float32
from mlflow_onnx_flavor.frameworks.not_exportable import NotExportableError
from mlflow_onnx_flavor.frameworks.other_sizes import EXAMPLE_ROWS, alike, of_other_sizes
from mlflow_onnx_flavor.frameworks.pytorch_calls import (
    Call,
    call_of,
    feeds_of,
    named_outputs,
    tensors_of,
    tensors_within,
)
from mlflow_onnx_flavor.frameworks.pytorch_causes import cause_of
from mlflow_onnx_flavor.frameworks.pytorch_fast_paths import decompositions
from mlflow_onnx_flavor.frameworks.pytorch_masks import mask_with_infinity
from mlflow_onnx_flavor.frameworks.pytorch_operators import translations
from mlflow_onnx_flavor.frameworks.pytorch_sizes import edges
from mlflow_onnx_flavor.frameworks.signature_shapes import shape_in
from mlflow_onnx_flavor.frameworks.tensor_names import graph_inputs
from mlflow_onnx_flavor.inputs import Inputs

log = logging.getLogger(__name__)

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

    def dynamo(self, path: Path) -> Export:
        """`torch.onnx.export` by way of `torch.export`."""
        call, outputs = self._called()
        with self._explained():
            program = self._exported(self._model, call, outputs)
        return self._saved(program, path, call, outputs)

    def dynamo_in_float32(self, path: Path) -> Export:
        """As `dynamo`, with a float64 module's arithmetic in float32."""
        import onnx

        call, outputs = self._called()
        with self._explained():
            program = self._exported(self._model, call, outputs)
        if _weight_bytes(program.model) > MAX_EMBEDDED_BYTES:
            raise NotExportableError(
                "the weights are too large to be narrowed here; log the module as module.float()"
            )
        _drop_traces(program.model)
        program.save(str(path))
        model = onnx.load(str(path))
        compute_in_float32(model)
        onnx.save_model(model, str(path))
        return self._checked(path, call, outputs, program)

    def script(self, path: Path) -> Export:
        """TorchScript's exporter, on the module's own script or on one compiled from it."""
        import torch

        call, outputs = self._called()
        inputs = graph_inputs(call.names, outputs)
        axes = {name: {0: BATCH_AXIS} for name in outputs}
        axes |= dict(zip(inputs, map(self._dynamic_axes, call.names), strict=True))
        with self._explained():
            torch.onnx.export(
                _taking_only(call, torch.jit.script(self._model)),
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
        from torch._export.converter import TS2EPConverter

        call, outputs = self._called()
        tensors = (*call.args, *call.kwargs.values())
        with self._explained():
            script = _taking_only(call, self._model)
            converted = TS2EPConverter(script, tensors).convert()
            whole = converted.run_decompositions(decompositions()).module()
            program = self._exported(whole, Call(tensors, {}, call.names), outputs)
        return self._saved(program, path, call, outputs)

    def _exported(self, module: Any, call: Call, outputs: tuple[str, ...]) -> Any:
        import torch

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
            verbose=False,
        )
        mask_with_infinity(program.model)
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
        rows = self._example.batch(EXAMPLE_ROWS)
        try:
            once, again = (named_outputs(self._model, rows) for _ in range(2))
        except (RuntimeError, AssertionError) as error:
            raise NotExportableError(
                f"the model does not take a batch of {EXAMPLE_ROWS} rows"
                f" ({cause_of(error, self._model)}); log it so that the batch axis can vary"
                " (-1 as the first axis in its signature)"
            ) from error
        _refuse_without_rows(once, f"a batch of {EXAMPLE_ROWS}")
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
        inputs = graph_inputs(call.names, outputs)
        session = self._opened(path)
        taken = {each.name for each in session.get_inputs()}
        keys = dict(zip(inputs, call.names, strict=True))
        for what, rows in of_other_sizes(self._example, session, keys, *edges(program)):
            try:
                expected = named_outputs(self._model, rows)
            except (RuntimeError, AssertionError, IndexError, ValueError):
                continue  # the module itself does not take such a size
            _refuse_without_rows(expected, what)
            tensors = tensors_of(call_of(self._model, rows))
            feeds = {name: each.numpy() for name, each in zip(inputs, tensors, strict=True)}
            feeds = {name: array for name, array in feeds.items() if name in taken}
            self._compare(what, expected, _found(session, outputs, feeds))
        feeds = feeds_of(call, self._example, inputs)
        return Export(
            feeds=tuple(feed for feed in feeds if feed.name in taken),
            outputs=outputs,
            prediction=outputs,
        )

    def _compare(
        self, what: str, expected: Mapping[str, np.ndarray], found: Mapping[str, np.ndarray]
    ) -> None:
        for name, array in expected.items():
            if name not in found or not alike(array, found[name]):
                if not what:
                    raise NotExportableError(
                        f"{name!r} of the exported graph is not what the module answers for the"
                        " example itself: the exporter mistakes one of its operators; compute it"
                        " in another way"
                    )
                size = "the size of the batch" if what.startswith("a batch") else "that size"
                raise NotExportableError(
                    f"for {what}, {name!r} is not what the module answers: what the module does"
                    f" depends on {size}, which the exporter settled by its example; take"
                    f" {size} out of its branches"
                )

    def _opened(self, path: Path) -> Any:
        """An onnxruntime session of what was exported."""
        import torch

        from mlflow_onnx_flavor.scoring import load_session

        try:
            return load_session(str(path)).session
        except Exception as error:  # onnxruntime's errors have no base of their own
            dtypes = {each.dtype for each in tensors_within(self._model)}
            if torch.bfloat16 not in dtypes:
                raise
            raise NotExportableError(
                "the model computes in bfloat16, for which onnxruntime's CPU provider lacks"
                " operators; log it in float32, as model.float() is"
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


def _refuse_without_rows(answers: Mapping[str, np.ndarray], what: str) -> None:
    for name, array in answers.items():
        if array.ndim == 0:
            raise NotExportableError(
                f"for {what}, {name!r} is one number without an axis of rows; keep the rows, as"
                " squeeze(-1) does where squeeze() does not and a mean over axis 1 does, or leave"
                " it out of what the module returns"
            )


def _how_to_be_the_same(model: Any) -> str:
    import torch

    if isinstance(model, torch.fx.GraphModule):
        return "a pt2 program keeps the mode it was made in, so call module.eval() and log it again"
    return "take what is random, or remembered from earlier calls, out of its eval mode"


def _found(
    session: Any, outputs: tuple[str, ...], feeds: Mapping[str, np.ndarray]
) -> dict[str, np.ndarray]:
    """What the file answers; nothing where it fails, as where a shape within it is fixed."""
    try:
        return dict(zip(outputs, session.run(list(outputs), dict(feeds)), strict=True))
    except Exception:  # onnxruntime's errors have no base of their own
        log.info("the exported file fails", exc_info=True)
        return {}


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
