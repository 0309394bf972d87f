"""Write a saved model's folder: the graph, the code that scores it, its environment."""

from __future__ import annotations

import functools
import importlib.metadata
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from mlflow_onnx_flavor._version import __version__
from mlflow_onnx_flavor.artifact.trusted_code import scoring_module_name
from mlflow_onnx_flavor.errors import CorruptModelError
from mlflow_onnx_flavor.machine import execution_providers as providers_here
from mlflow_onnx_flavor.onnx_graph.files import MODEL_FILE, copy_model, external_locations
from mlflow_onnx_flavor.schemas.graph import GraphSpec
from mlflow_onnx_flavor.scoring.operator_libraries import EXTENSIONS, OPERATOR_LIBRARIES

if TYPE_CHECKING:
    import onnx
    from mlflow.models import Model

FLAVOR_NAME = "mlflow_onnx_flavor"
CODE_FOLDER = "code"

# A ModelProto above this is written with external data: protobuf ends at 2 GiB.
_EXTERNAL_DATA_BYTES = 1_500_000_000


def write_model(onnx_model: Any, folder: Path) -> onnx.ModelProto:
    """Write the model file and return the model, without weights where it was given as a file."""
    target = folder / MODEL_FILE
    if isinstance(onnx_model, str | os.PathLike):
        return copy_model(Path(onnx_model), target)
    import onnx

    if locations := external_locations(onnx_model):
        raise CorruptModelError(
            f"the model's weights are not in memory but in {locations[0]!r}; give the path of the"
            " .onnx file instead"
        )
    if onnx_model.ByteSize() < _EXTERNAL_DATA_BYTES:
        onnx.save_model(onnx_model, str(target))
        return cast("onnx.ModelProto", onnx_model)
    # onnx moves the tensors out of the proto that it is given, so it is given a copy.
    copy = onnx.ModelProto()
    copy.CopyFrom(onnx_model)
    onnx.save_model(copy, str(target), save_as_external_data=True, location=f"{MODEL_FILE}.data")
    return cast("onnx.ModelProto", onnx_model)


def ship_scoring(folder: Path) -> str:
    """Copy the scoring package into the model ``folder`` as code; return its module name there."""
    name = _scoring_module_name()
    target = folder / CODE_FOLDER / name
    shutil.copytree(_scoring_folder(), target, ignore=shutil.ignore_patterns("__pycache__"))
    return name


def add_flavors(
    mlflow_model: Model,
    *,
    loader_module: str,
    graph: GraphSpec,
    providers: list[dict[str, Any]],
    session_options: dict[str, Any],
    extra_files: dict[str, Any],
) -> None:
    """Add the entries of the MLmodel file: pyfunc, this flavor, and MLflow's built-in one."""
    from mlflow import pyfunc

    from mlflow_onnx_flavor.scoring import CONFIG_KEYS

    onnx_version = importlib.metadata.version("onnx")
    pyfunc.add_to_model(
        mlflow_model,
        loader_module=loader_module,
        code=CODE_FOLDER,
        conda_env="conda.yaml",
        python_env="python_env.yaml",
        # MLflow drops a `model_config` key, with no more than a warning, unless it is listed here.
        model_config=dict.fromkeys(CONFIG_KEYS),
    )
    mlflow_model.add_flavor(
        FLAVOR_NAME,
        data=MODEL_FILE,
        code=CODE_FOLDER,
        graph=graph.model_dump(mode="json"),
        execution_providers=providers,
        session_options=session_options,
        onnx_version=onnx_version,
        onnxruntime_version=importlib.metadata.version(providers_here.runtime_distribution()),
        flavor_version=__version__,
        **extra_files,
    )
    mlflow_model.add_flavor(
        "onnx",
        data=MODEL_FILE,
        onnx_version=onnx_version,
        providers=[each["name"] for each in providers],
        onnx_session_options=None,
        code=CODE_FOLDER,
    )


def requirements_of(graph: GraphSpec, session_options: Mapping[str, Any]) -> list[str]:
    """Return the requirements that the graph adds to the defaults.

    They are a tokenizer where it takes text, and the libraries of operators that its session
    options name.
    """
    needed = []
    if any(feed.layout == "tokens" for feed in graph.feeds):
        needed.append("tokenizers")
    if EXTENSIONS in session_options.get(OPERATOR_LIBRARIES, ()):
        needed.append("onnxruntime-extensions")
    return [f"{name}=={importlib.metadata.version(name)}" for name in needed]


def write_environment(
    folder: Path,
    conda_env: Any,
    default_requirements: list[str],
    pip_requirements: Any,
    extra_pip_requirements: Any,
) -> None:
    """Write conda.yaml, requirements.txt, python_env.yaml and constraints.txt for the model.

    Other flavors write the same files.
    """
    import yaml
    from mlflow.utils.environment import (
        _process_conda_env,
        _process_pip_requirements,
        _PythonEnv,
    )

    if conda_env is None:
        conda_env, requirements, constraints = _process_pip_requirements(
            default_requirements, pip_requirements, extra_pip_requirements
        )
    else:
        conda_env, requirements, constraints = _process_conda_env(conda_env)
    (folder / "conda.yaml").write_text(yaml.safe_dump(conda_env, default_flow_style=False))
    if constraints:
        (folder / "constraints.txt").write_text("\n".join(constraints))
    (folder / "requirements.txt").write_text("\n".join(requirements))
    _PythonEnv.current().to_yaml(str(folder / "python_env.yaml"))


@functools.cache
def _scoring_module_name() -> str:
    return scoring_module_name(_scoring_folder())


def _scoring_folder() -> Path:
    return Path(__file__).parent.parent / "scoring"
