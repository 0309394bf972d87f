"""PyTorch modules as `mlflow.pytorch` stores them (pt2 programs, pickles, ScriptModules).

The output of a module that returns one tensor is "output"; those of a tuple are "output_0" and so
on; a dictionary or named tuple has names of its own.  Modules run in eval mode, as in MLflow's
pyfunc.

An eager module is never traced by the TorchScript exporter, which silently keeps one arm of a
data-dependent branch.  The dynamo exporter refuses such a branch; scripting keeps both arms.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import mlflow.pyfunc
import mlflow.pytorch
import numpy as np
import torch
from mlflow.models import Model

from mlflow_onnx_flavor.frameworks.base import (
    Export,
    Framework,
    LoadedSource,
    MoreRows,
    Strategy,
    no_more_rows,
    pyfunc_of,
)
from mlflow_onnx_flavor.frameworks.other_sizes import EXAMPLE_ROWS
from mlflow_onnx_flavor.frameworks.pytorch.calls import (
    answers_within,
    named_outputs,
    tensors_within,
)
from mlflow_onnx_flavor.frameworks.pytorch.compat import served_on_cpu
from mlflow_onnx_flavor.frameworks.pytorch.export import Exporter
from mlflow_onnx_flavor.frameworks.pytorch.float64 import float64_answers
from mlflow_onnx_flavor.frameworks.pytorch.floats import narrowed, why_in_float32
from mlflow_onnx_flavor.inputs import Inputs


class PyTorch(Framework):
    """The PyTorch framework: programs, eager modules and script modules."""

    def load(self, path: Path, flavor: Mapping[str, Any]) -> LoadedSource:
        """Load what `mlflow.pytorch` stored, on the CPU and in eval mode.

        ``pyfunc`` is None if MLflow stored none: for a pt2 program with several inputs.
        """
        metadata = Model.load(str(path))
        if "python_function" not in metadata.flavors:
            native = mlflow.pytorch.load_model(str(path), map_location="cpu")
            return LoadedSource(_in_eval_mode(native), None, path, flavor)
        pyfunc = _pyfunc(path, metadata)
        native = pyfunc.get_raw_model()
        if any(tensor.device.type != "cpu" for tensor in tensors_within(native)):
            native = mlflow.pytorch.load_model(str(path), map_location="cpu")
        return LoadedSource(_in_eval_mode(native), pyfunc, path, flavor)

    def reference_outputs(self, source: LoadedSource, inputs: Inputs) -> dict[str, np.ndarray]:
        """Return every output tensor by name; bfloat16, which numpy lacks, becomes float32."""
        return named_outputs(source.native, inputs)

    def strategies(
        self, source: LoadedSource, example: Inputs, evaluation: MoreRows = no_more_rows
    ) -> list[Strategy]:
        """Return the export strategies, best first.

        Programs and eager modules go to the dynamo exporter, script modules to TorchScript's.  If
        the module computes in a dtype that onnxruntime may lack, each strategy is followed by the
        same strategy in float32.
        """
        exporter = Exporter(source.native, example, _signature(source))
        dtypes = narrowed(source.native, example.batch(EXAMPLE_ROWS))

        def strategy(name: str, why: str, export: Callable[[Exporter, Path], Export]) -> Strategy:
            return Strategy(name, why, partial(export, exporter), "torch")

        def in_float32(name: str, export: Callable[[Exporter, Path], Export]) -> list[Strategy]:
            if not dtypes:
                return []
            narrower = partial(export, exporter.in_float32(dtypes))
            return [Strategy(f"{name}_float32", why_in_float32(dtypes), narrower, "torch")]

        if isinstance(source.native, torch.jit.ScriptModule):
            return [
                strategy(
                    "torchscript",
                    "a ScriptModule holds its own graph, with both arms of every branch",
                    Exporter.script,
                ),
                *in_float32("torchscript", Exporter.script),
                strategy(
                    "script_to_program",
                    "as a torch.export program, for operators that TorchScript's exporter lacks",
                    Exporter.script_to_program,
                ),
                *in_float32("script_to_program", Exporter.script_to_program),
            ]
        found = [
            strategy(
                "dynamo",
                "PyTorch's own exporter; refuses a branch that depends on data",
                Exporter.dynamo,
            ),
            *in_float32("dynamo", Exporter.dynamo),
        ]
        if isinstance(source.native, torch.fx.GraphModule):  # a pt2 program has no source code
            return found
        if "bfloat16" in dtypes:
            return [*found, *in_float32("scripted", Exporter.script)]
        scripted = "compiled with torch.jit.script, which keeps both arms of a branch"
        return [*found, strategy("scripted", scripted, Exporter.script)]

    def in_float64(self, source: LoadedSource) -> Callable[[Inputs], dict[str, np.ndarray]] | None:
        """Return a function like `reference_outputs` in float64; None if the model has none."""
        return float64_answers(source)

    def layer_outputs(self, source: LoadedSource, inputs: Inputs) -> dict[str, np.ndarray]:
        """Return the output of each inner module that returns one tensor, by qualified name."""
        return answers_within(source.native, inputs)


def _pyfunc(path: Path, metadata: Any) -> Any:
    """Return the model as MLflow serves it.

    MLflow's pyfunc has no ``map_location``, so that a model that was pickled on a GPU does not load
    on a machine without one; then the same wrapper is made around the model on the CPU.
    """
    try:
        return pyfunc_of(path)
    except RuntimeError:
        if torch.cuda.is_available():
            raise
        model = mlflow.pytorch.load_model(str(path), map_location="cpu")
        served = served_on_cpu(_in_eval_mode(model))
        return mlflow.pyfunc.PyFuncModel(model_meta=metadata, model_impl=served)


def _in_eval_mode(model: Any) -> Any:
    """Return ``model`` in eval mode; a torch.export program keeps the mode it was traced in."""
    try:
        return model.eval()
    except NotImplementedError:
        return model


def _signature(source: LoadedSource) -> Any:
    return Model.load(str(source.path)).signature


framework = PyTorch()
