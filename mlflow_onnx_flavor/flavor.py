"""MLflow's flavor contract: save_model, log_model, load_model, _load_pyfunc.

    logged = log_model("model.onnx", name="fraud", signature=signature)
    session = load_session(logged.model_uri)
    session.predict(frame)

The artifact is self-contained: `scoring/` travels in it as code, so it serves wherever mlflow and
onnxruntime are, and it carries MLflow's built-in ``onnx`` flavor as well.
"""

from __future__ import annotations

import functools
import hashlib
import importlib.metadata
import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlflow_onnx_flavor._version import __version__
from mlflow_onnx_flavor.errors import CorruptModelError
from mlflow_onnx_flavor.graph_spec import GraphSpec
from mlflow_onnx_flavor.onnx_files import copy_model

if TYPE_CHECKING:
    import onnx
    from mlflow.models import Model, ModelInputExample, ModelSignature
    from mlflow.models.model import ModelInfo

FLAVOR_NAME = "mlflow_onnx_flavor"
MODEL_FILE = "model.onnx"
CODE_FOLDER = "code"
OUTPUTS_PARAM = "outputs"
CPU = "CPUExecutionProvider"

# A ModelProto above this is written with external data: protobuf ends at 2 GiB.
_EXTERNAL_DATA_BYTES = 1_500_000_000


def get_default_pip_requirements(execution_providers: Sequence[Any] | None = None) -> list[str]:
    """What serving a model of this flavor needs, at the versions installed here.

    ``execution_providers``: names, or dictionaries with a name; plug-ins add their package.
    """
    from mlflow_onnx_flavor.execution_providers import requirement_of

    packages = ("mlflow", "onnxruntime", "numpy", "pandas")
    pinned = [f"{name}=={importlib.metadata.version(name)}" for name in packages]
    plugins = [requirement_of(each["name"]) for each in _providers(execution_providers)]
    return pinned + [each for each in plugins if each]


def get_default_conda_env() -> dict[str, Any]:
    """The conda environment with `get_default_pip_requirements`, as other flavors give it."""
    from mlflow.utils.environment import _mlflow_conda_env

    return _mlflow_conda_env(additional_pip_deps=get_default_pip_requirements())


def save_model(
    onnx_model: onnx.ModelProto | str | os.PathLike,
    path: str | os.PathLike,
    conda_env: dict[str, Any] | str | None = None,
    code_paths: list[str] | None = None,
    mlflow_model: Model | None = None,
    signature: ModelSignature | None = None,
    input_example: ModelInputExample = None,
    pip_requirements: list[str] | str | None = None,
    extra_pip_requirements: list[str] | str | None = None,
    execution_providers: Sequence[Any] | None = None,
    session_options: Mapping[str, Any] | None = None,
    metadata: dict[str, Any] | None = None,
    extra_files: list[str] | None = None,
    graph: GraphSpec | None = None,
) -> None:
    """Save an ONNX model as an MLflow model in the new or empty folder ``path``.

    ``onnx_model``: a ModelProto, which is left as it is, or the path of an ``.onnx`` file, which is
    copied with its external data and never loaded.  ``execution_providers``: names, or dictionaries
    with "name" and "options", in order of preference; the CPU where None.  ``session_options``:
    attributes of `onnxruntime.SessionOptions`, and "config_entries".  ``graph``: how the graph is
    fed and what its pyfunc answers; a dictionary of all outputs where None.  The other parameters
    are those of every MLflow flavor; nothing is inferred by a subprocess.
    """
    from mlflow import pyfunc
    from mlflow.models import Model
    from mlflow.models.model import MLMODEL_FILE_NAME
    from mlflow.models.utils import _save_example
    from mlflow.utils.environment import _validate_env_arguments
    from mlflow.utils.file_utils import get_total_file_size
    from mlflow.utils.model_utils import (
        _copy_extra_files,
        _validate_and_copy_code_paths,
        _validate_and_prepare_target_save_path,
    )

    _validate_env_arguments(conda_env, pip_requirements, extra_pip_requirements)
    path = os.path.abspath(path)
    _validate_and_prepare_target_save_path(path)
    _validate_and_copy_code_paths(code_paths, path, CODE_FOLDER)
    loader_module = _ship_scoring(Path(path) / CODE_FOLDER)
    _write_model(onnx_model, Path(path))

    mlflow_model = mlflow_model or Model()
    if signature is not None:
        mlflow_model.signature = _with_outputs_param(signature)
    if input_example is not None:
        _save_example(mlflow_model, input_example, path)
    if metadata is not None:
        mlflow_model.metadata = metadata
    providers = _providers(execution_providers)
    versions = {name: importlib.metadata.version(name) for name in ("onnx", "onnxruntime")}
    pyfunc.add_to_model(
        mlflow_model,
        loader_module=loader_module,
        code=CODE_FOLDER,
        conda_env="conda.yaml",
        python_env="python_env.yaml",
    )
    mlflow_model.add_flavor(
        FLAVOR_NAME,
        data=MODEL_FILE,
        code=CODE_FOLDER,
        graph=None if graph is None else graph.model_dump(mode="json"),
        execution_providers=providers,
        session_options=dict(session_options or {}),
        onnx_version=versions["onnx"],
        onnxruntime_version=versions["onnxruntime"],
        flavor_version=__version__,
        **_copy_extra_files(extra_files, path),
    )
    mlflow_model.add_flavor(
        "onnx",
        data=MODEL_FILE,
        onnx_version=versions["onnx"],
        providers=[each["name"] for each in providers],
        onnx_session_options=None,
        code=CODE_FOLDER,
    )
    mlflow_model.model_size_bytes = get_total_file_size(path)
    mlflow_model.save(os.path.join(path, MLMODEL_FILE_NAME))
    _write_environment(path, conda_env, pip_requirements, extra_pip_requirements, providers)


def log_model(
    onnx_model: onnx.ModelProto | str | os.PathLike,
    artifact_path: str | None = None,
    conda_env: dict[str, Any] | str | None = None,
    code_paths: list[str] | None = None,
    registered_model_name: str | None = None,
    signature: ModelSignature | None = None,
    input_example: ModelInputExample = None,
    await_registration_for: int = 300,
    pip_requirements: list[str] | str | None = None,
    extra_pip_requirements: list[str] | str | None = None,
    execution_providers: Sequence[Any] | None = None,
    session_options: Mapping[str, Any] | None = None,
    metadata: dict[str, Any] | None = None,
    extra_files: list[str] | None = None,
    graph: GraphSpec | None = None,
    name: str | None = None,
    params: dict[str, Any] | None = None,
    tags: dict[str, Any] | None = None,
    model_type: str | None = None,
    step: int = 0,
    model_id: str | None = None,
) -> ModelInfo:
    """Log an ONNX model to the active run, as `save_model` saves it; parameters as everywhere.

    Returns MLflow's ModelInfo: ``model_uri`` is ``models:/m-...``.
    """
    from mlflow.models import Model

    from mlflow_onnx_flavor import flavor

    return Model.log(
        artifact_path=artifact_path,
        name=name,
        flavor=flavor,
        onnx_model=onnx_model,
        conda_env=conda_env,
        code_paths=code_paths,
        registered_model_name=registered_model_name,
        signature=signature,
        input_example=input_example,
        await_registration_for=await_registration_for,
        pip_requirements=pip_requirements,
        extra_pip_requirements=extra_pip_requirements,
        execution_providers=execution_providers,
        session_options=session_options,
        metadata=metadata,
        extra_files=extra_files,
        graph=graph,
        params=params,
        tags=tags,
        model_type=model_type,
        step=step,
        model_id=model_id,
    )


def load_model(model_uri: str, dst_path: str | None = None) -> onnx.ModelProto:
    """The ONNX model itself, with its weights in memory.  Raises CorruptModelError."""
    import onnx
    from google.protobuf.message import DecodeError

    file = _local(model_uri, dst_path) / MODEL_FILE
    try:
        return onnx.load(str(file))
    except (DecodeError, OSError, ValueError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else "no ONNX file"
        raise CorruptModelError(
            f"{model_uri!r} holds no readable {MODEL_FILE} ({reason}); log the model again"
        ) from error


def load_session(
    model_uri: str,
    execution_providers: Sequence[Any] | None = None,
    session_options: Mapping[str, Any] | None = None,
    fallback: str | None = None,
):
    """The model opened for scoring: `scoring.ScoringSession`.

    ``execution_providers``, ``session_options`` and ``fallback`` ("strict" or "allow") override
    what the model was logged with.
    """
    from mlflow_onnx_flavor import scoring

    config = {
        "execution_providers": _providers(execution_providers) if execution_providers else None,
        "session_options": session_options,
        "fallback": fallback,
    }
    return scoring.load_session(
        os.fspath(_local(model_uri)), {key: value for key, value in config.items() if value}
    )


def _load_pyfunc(path: str, model_config: Mapping[str, Any] | None = None):
    """MLflow's pyfunc hook, for models whose loader module is this package itself."""
    from mlflow_onnx_flavor import scoring

    return scoring._load_pyfunc(path, model_config)


@functools.cache
def _scoring_module_name() -> str:
    """`mlflow_onnx_scoring_` and a digest of the package's source: other code, another name."""
    sha = hashlib.sha256()
    for file in sorted(_scoring_folder().glob("*.py")):
        sha.update(file.name.encode() + b"\0" + file.read_bytes())
    return f"mlflow_onnx_scoring_{sha.hexdigest()[:12]}"


def _scoring_folder() -> Path:
    return Path(__file__).parent / "scoring"


def _ship_scoring(code: Path) -> str:
    """Copy the scoring package below ``code``; returns the module name that it has there."""
    name = _scoring_module_name()
    shutil.copytree(_scoring_folder(), code / name, ignore=shutil.ignore_patterns("__pycache__"))
    return name


def _write_model(onnx_model: Any, folder: Path) -> None:
    target = folder / MODEL_FILE
    if isinstance(onnx_model, str | os.PathLike):
        copy_model(Path(onnx_model), target)
        return
    import onnx

    if onnx_model.ByteSize() < _EXTERNAL_DATA_BYTES:
        onnx.save_model(onnx_model, str(target))
        return
    # onnx moves the tensors out of the proto that it is given, so it is given a copy.
    copy = onnx.ModelProto()
    copy.CopyFrom(onnx_model)
    onnx.save_model(copy, str(target), save_as_external_data=True, location=f"{MODEL_FILE}.data")


def _with_outputs_param(signature: ModelSignature) -> ModelSignature:
    """The signature with the parameter ``outputs``, so that MLflow lets it through.

    MLflow wants a default for a list; the empty one stands for the prediction itself.
    """
    from mlflow.models import ModelSignature
    from mlflow.types import DataType, ParamSchema, ParamSpec

    own = list(signature.params.params) if signature.params else []
    if all(each.name != OUTPUTS_PARAM for each in own):
        own.append(ParamSpec(OUTPUTS_PARAM, DataType.string, default=[], shape=(-1,)))
    return ModelSignature(signature.inputs, signature.outputs, ParamSchema(own))


def _providers(execution_providers: Sequence[Any] | None) -> list[dict[str, Any]]:
    """Names and dictionaries alike as ``{"name", "options"}``."""
    return [
        {"name": each, "options": {}}
        if isinstance(each, str)
        else {"name": each["name"], "options": dict(each.get("options") or {})}
        for each in (execution_providers or [CPU])
    ]


def _write_environment(
    path: str,
    conda_env: Any,
    pip_requirements: Any,
    extra_pip_requirements: Any,
    providers: list[dict[str, Any]],
) -> None:
    import yaml
    from mlflow.utils.environment import (
        _process_conda_env,
        _process_pip_requirements,
        _PythonEnv,
    )

    if conda_env is None:
        defaults = None if pip_requirements else get_default_pip_requirements(providers)
        conda_env, requirements, constraints = _process_pip_requirements(
            defaults, pip_requirements, extra_pip_requirements
        )
    else:
        conda_env, requirements, constraints = _process_conda_env(conda_env)
    folder = Path(path)
    (folder / "conda.yaml").write_text(yaml.safe_dump(conda_env, default_flow_style=False))
    if constraints:
        (folder / "constraints.txt").write_text("\n".join(constraints))
    (folder / "requirements.txt").write_text("\n".join(requirements))
    _PythonEnv.current().to_yaml(str(folder / "python_env.yaml"))


def _local(model_uri: str, dst_path: str | None = None) -> Path:
    from mlflow_onnx_flavor.sources import fetch

    folder = fetch(os.fspath(model_uri))
    if dst_path is None:
        return folder
    return Path(shutil.copytree(folder, dst_path, dirs_exist_ok=True))
