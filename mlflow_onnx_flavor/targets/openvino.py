"""OpenVINO: its intermediate representation, an XML of operators and a file of weights.

core = openvino.Core()
compiled = core.compile_model("model.xml", "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mlflow_onnx_flavor.errors import UnsupportedModelError, one_line
from mlflow_onnx_flavor.targets.base import Arrays, Request, Run, Target

if TYPE_CHECKING:
    from mlflow.models import Model

MODEL, SETTINGS = "model.xml", "settings.json"


class OpenvinoTarget(Target):
    """The target "openvino": OpenVINO's IR, in float32 or with weights in float16."""

    description = "OpenVINO's IR (XML and weights) with a pyfunc that serves it"
    modules = ("openvino",)
    extra = "openvino-ir"
    precisions = ("float32", "float16")
    cannot = "text, sequences, whole numbers beyond 32 bits"

    def write(self, request: Request, folder: Path) -> None:
        """Write the IR and the settings to compile it with.

        Raises UnsupportedModelError if OpenVINO cannot read the model.
        """
        import openvino

        core = openvino.Core()
        try:
            model = core.read_model(str(request.model))
        except RuntimeError as error:
            raise UnsupportedModelError(_why(error)) from error
        half = request.precision == "float16"
        openvino.save_model(model, str(folder / MODEL), compress_to_fp16=half)
        # The plug-in's own default is bfloat16 on processors that have it.
        settings = {"INFERENCE_PRECISION_HINT": "f32"}
        outputs = _outputs(request.model)
        (folder / SETTINGS).write_text(json.dumps({"compile": settings, "outputs": outputs}))

    def load(self, folder: Path) -> Run:
        """Return a function that runs the compiled IR of ``folder``."""
        return _opened(folder)

    def versions(self) -> dict[str, str]:
        """Return the version of openvino."""
        import openvino

        return {"openvino": openvino.__version__.partition("-")[0]}

    def describe(self, folder: Path, model: Model) -> bool:
        """Add a pyfunc flavor to ``model``, with a copy of the module that serves it."""
        from mlflow import pyfunc

        pyfunc.add_to_model(
            model,
            loader_module="openvino_ir",
            code="code",
            conda_env="conda.yaml",
            python_env="python_env.yaml",
        )
        code = folder / "code"
        code.mkdir()
        (code / "openvino_ir.py").write_text(_served())
        return True


def _served() -> str:
    """Return the source of the module that serves the folder with mlflow and openvino alone."""
    return (Path(__file__).parent / "openvino_ir" / "pyfunc.py").read_text()


def _opened(folder: Path) -> Run:
    from mlflow_onnx_flavor.targets.openvino_ir.pyfunc import Compiled

    compiled = Compiled(folder)

    def run(inputs: Arrays) -> dict[str, np.ndarray]:
        return compiled.run(dict(inputs))

    return run


def _outputs(path: Path) -> list[str]:
    from mlflow_onnx_flavor.onnx_graph.structure import read_structure

    return [each.name for each in read_structure(path).graph.output]


def _why(error: Any) -> str:
    """Return the operator that OpenVINO names in its message of many lines."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    named = [line for line in lines if "not supported" in line or "No conversion" in line]
    return f"OpenVINO does not read the graph: {(named or [one_line(error)])[0]}"


target = OpenvinoTarget()
