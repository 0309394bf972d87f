"""PyTorch: a `torch.export` program that loads with torch alone.

program = torch.export.load("data/model.pt2").module()
program(torch.from_numpy(rows))
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from mlflow_onnx_flavor.targets.base import Request, Run, Target

if TYPE_CHECKING:
    from mlflow.models import Model

PROGRAM = "data/model.pt2"


class PytorchTarget(Target):
    """The target "pytorch": a `torch.export` program, logged as mlflow.pytorch logs a model."""

    description = (
        "a torch.export program that loads with torch alone, logged as mlflow.pytorch does"
    )
    modules = ("torch",)
    extra = "torch"
    cannot = "text, sequences, loops and branches"

    def write(self, request: Request, folder: Path) -> None:
        """Write the exported program into ``folder``.

        Raises UnsupportedModelError for operators without a rule.
        """
        from mlflow_onnx_flavor.targets.pytorch.program import exported

        (folder / PROGRAM).parent.mkdir()
        exported(request, folder / PROGRAM)

    def load(self, folder: Path) -> Run:
        """Return a function that runs the program in ``folder``."""
        from mlflow_onnx_flavor.targets.pytorch.program import opened

        return opened(folder / PROGRAM)

    def versions(self) -> dict[str, str]:
        """Return the version of torch."""
        import torch

        return {"torch": torch.__version__}

    def describe(self, folder: Path, model: Model) -> bool:
        """Add the pytorch flavor to ``model``, and a pyfunc if it has one input and one output."""
        import importlib.metadata

        version = importlib.metadata.version("torch")
        model.add_flavor("pytorch", model_data="data", pytorch_version=version, code=None)
        inputs, outputs = model.signature.inputs, model.signature.outputs
        if len(inputs) == len(outputs) == 1:  # mlflow.pytorch's own pyfunc has one of each
            from mlflow import pyfunc

            pyfunc.add_to_model(
                model,
                loader_module="mlflow.pytorch",
                data="data",
                conda_env="conda.yaml",
                python_env="python_env.yaml",
                model_config={"device": None},
                pickle_module_name="mlflow.pytorch.pickle_module",
            )
        return True


target = PytorchTarget()
