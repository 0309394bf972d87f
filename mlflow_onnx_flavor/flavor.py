"""MLflow's flavor contract: save_model, log_model, load_model, _load_pyfunc.

    logged = log_model("model.onnx", name="fraud", signature=signature)
    session = load_session(logged.model_uri)
    session.predict(frame)

The artifact is self-contained: `scoring/` travels in it as code, so it serves wherever mlflow and
onnxruntime are, and it carries MLflow's built-in ``onnx`` flavor as well.
"""

from __future__ import annotations

import importlib.metadata
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlflow_onnx_flavor.artifact import writer
from mlflow_onnx_flavor.artifact.graph_inference import infer_graph
from mlflow_onnx_flavor.artifact.output_schema import output_schema
from mlflow_onnx_flavor.errors import (
    ConfigurationError,
    CorruptModelError,
    one_line,
)
from mlflow_onnx_flavor.machine import execution_providers as providers_here
from mlflow_onnx_flavor.onnx_graph.files import MODEL_FILE
from mlflow_onnx_flavor.schemas.graph import GraphSpec
from mlflow_onnx_flavor.scoring.operator_libraries import OPERATOR_LIBRARIES

if TYPE_CHECKING:
    import onnx
    from mlflow.models import Model, ModelInputExample, ModelSignature
    from mlflow.models.model import ModelInfo

    from mlflow_onnx_flavor.schemas.configuration import Trust
    from mlflow_onnx_flavor.scoring.model import ScoringSession

FLAVOR_NAME = writer.FLAVOR_NAME


def get_default_pip_requirements(execution_providers: Sequence[Any] | None = None) -> list[str]:
    """Return the requirements for serving a model of this flavor, at the versions installed here.

    ``execution_providers``: names, or dictionaries with a name; plug-ins add their package.
    """
    packages = ("mlflow", providers_here.runtime_distribution(), "numpy", "pandas")
    pinned = [f"{name}=={importlib.metadata.version(name)}" for name in packages]
    names = [each["name"] for each in providers_here.as_entries(execution_providers)]
    plugins = [providers_here.requirement_of(name) for name in names]
    return pinned + [each for each in plugins if each]


def get_default_conda_env() -> dict[str, Any]:
    """Return the conda environment with `get_default_pip_requirements`, as other flavors do."""
    from mlflow.utils.environment import _mlflow_conda_env

    pip = get_default_pip_requirements()
    environment: dict[str, Any] = _mlflow_conda_env(additional_pip_deps=pip)
    return environment


def save_model(
    onnx_model: onnx.ModelProto | str | os.PathLike[str],
    path: str | os.PathLike[str],
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

    ``onnx_model``: a ModelProto, which stays unchanged, or the path of an ``.onnx`` file, which is
    copied with its external data and never loaded.  ``execution_providers``: names, or dictionaries
    with "name" and "options", in order of preference; the CPU where None.  ``session_options``:
    attributes of `onnxruntime.SessionOptions`, "config_entries", "provider_options" by provider
    (the options of a provider in ``execution_providers`` take precedence), and
    "custom_operator_libraries" (``["onnxruntime_extensions"]``).  ``graph``: how the graph is fed
    and what its pyfunc returns; where None, inputs are matched with the signature and the pyfunc
    returns a dictionary of all outputs.  ``signature``: where None, its inputs come from the input
    example; where it has no outputs, they come from the graph.  Without any signature, MLflow
    passes no parameters to ``predict``.  The other parameters are those of every MLflow flavor.

    Nothing is inferred in a subprocess, and nothing is left behind where saving fails.

    Raises CorruptModelError for a file that is not ONNX or lacks its weights, UnsupportedModelError
    for inputs that cannot be fed, ConfigurationError for a wrong execution provider or session
    option.
    """
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
    providers = providers_here.as_entries(execution_providers)
    session_options = _checked(session_options or {}, providers)
    path = os.path.abspath(path)
    with _nothing_left_on_error(path):
        _validate_and_prepare_target_save_path(path)
        _validate_and_copy_code_paths(code_paths, path, writer.CODE_FOLDER)
        structure = writer.write_model(onnx_model, Path(path))
        mlflow_model = mlflow_model or Model()
        example = None
        if input_example is not None:
            example = _save_example(mlflow_model, input_example, path)
        signature = _signature_of(signature, example)
        if metadata is not None:
            mlflow_model.metadata = metadata
        graph = graph or infer_graph(structure, signature)
        if signature is not None:
            if signature.outputs is None:  # MLServer reads both sides of a signature
                signature.outputs = output_schema(graph.prediction, structure)
            mlflow_model.signature = signature
        writer.add_flavors(
            mlflow_model,
            loader_module=writer.ship_scoring(Path(path)),
            graph=graph,
            providers=providers,
            session_options=session_options,
            extra_files=_copy_extra_files(extra_files, path),
        )
        mlflow_model.model_size_bytes = get_total_file_size(path)
        mlflow_model.save(os.path.join(path, MLMODEL_FILE_NAME))
        writer.write_environment(
            Path(path),
            conda_env,
            get_default_pip_requirements(providers)
            + writer.requirements_of(graph, session_options),
            pip_requirements,
            extra_pip_requirements,
        )


def log_model(
    onnx_model: onnx.ModelProto | str | os.PathLike[str],
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
    """Log an ONNX model to the active run, with the parameters of `save_model` and other flavors.

    Returns MLflow's ModelInfo, whose ``model_uri`` is ``models:/m-...``.
    """
    from mlflow.models import Model

    from mlflow_onnx_flavor import flavor

    info: ModelInfo = Model.log(
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
    return info


def load_model(model_uri: str, dst_path: str | None = None) -> onnx.ModelProto:
    """Return the ONNX model itself, with its weights in memory.

    Raises CorruptModelError where the artifact holds no readable model.
    """
    import onnx
    from google.protobuf.message import DecodeError

    file = _local(model_uri, dst_path) / MODEL_FILE
    try:
        return onnx.load(str(file))
    except (DecodeError, OSError, ValueError) as error:
        raise CorruptModelError(
            f"{model_uri!r} holds no readable {MODEL_FILE} ({one_line(error)}); log the model again"
        ) from error


def load_session(
    model_uri: str,
    execution_providers: Sequence[Any] | None = None,
    session_options: Mapping[str, Any] | None = None,
    fallback: str | None = None,
    trust: Trust | Mapping[str, Any] | None = None,
) -> ScoringSession:
    """The model opened for scoring: `scoring.ScoringSession`.

    ``execution_providers``, ``session_options`` and ``fallback`` ("strict" or "allow") override the
    settings that the model was logged with.  ``trust``: the signers of whom one must have signed
    the registered version before it is loaded, as `schemas.configuration.Trust` or its keys
    (``{"public_key": FILE}``); its evidence must pass, and its bytes must be those that were
    signed.

    Raises what `registry.verify` raises.
    """
    from mlflow_onnx_flavor import scoring
    from mlflow_onnx_flavor.registry.loading import verified_under

    digest = None
    if trust:
        verified = verified_under(os.fspath(model_uri), trust)
        model_uri, digest = f"models:/{verified.name}/{verified.version}", verified.digest

    config = {
        "execution_providers": (
            providers_here.as_entries(execution_providers) if execution_providers else None
        ),
        "session_options": session_options,
        "fallback": fallback,
        "digest": digest,
    }
    session: ScoringSession = scoring.load_session(
        os.fspath(_local(model_uri)), {key: value for key, value in config.items() if value}
    )
    return session


def _load_pyfunc(path: str, model_config: Mapping[str, Any] | None = None) -> Any:
    """MLflow's pyfunc hook, for models whose loader module is this package itself."""
    from mlflow_onnx_flavor import scoring

    return scoring._load_pyfunc(path, model_config)


def _checked(
    session_options: Mapping[str, Any], providers: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    """Return the session options, checked together with those of the providers.

    Raises ConfigurationError where a session does not accept an option or a model may not carry it.
    Operator libraries are looked up only when the session opens.
    """
    from mlflow_onnx_flavor.scoring import entry, opening, settings

    try:
        entry.check_session_options(session_options)
        settings.check_providers_of_artifact(providers)
        checked = settings.session_options(session_options)
        opening.options_of({**checked, OPERATOR_LIBRARIES: ()})
    except ValueError as error:
        raise ConfigurationError(str(error)) from error
    return checked


@contextmanager
def _nothing_left_on_error(path: str) -> Iterator[None]:
    was_there = os.path.exists(path)
    try:
        yield
    except BaseException:
        if not was_there:
            shutil.rmtree(path, ignore_errors=True)
        raise


def _signature_of(signature: ModelSignature | None, example: Any) -> ModelSignature | None:
    """Return the signature to save: ``signature`` (False: none at all), else that of the example.

    The example's outputs are not computed, since that would load the weights: see `output_schema`.
    Return None where MLflow would refuse the example itself: for a list of lists it expects a
    column of arrays.
    """
    from mlflow.exceptions import MlflowException
    from mlflow.models import infer_signature
    from mlflow.models.utils import _enforce_schema

    if signature is None and example is not None:
        signature = infer_signature(example.inference_data, params=example.inference_params)
        try:
            _enforce_schema(example.inference_data, signature.inputs)
        except (MlflowException, ValueError, TypeError):
            return None
    return _with_params(signature) if signature else None


def _with_params(signature: ModelSignature) -> ModelSignature:
    """Return the signature with the parameters of `scoring.parameters` added.

    MLflow passes on only the parameters of the signature, and requires a default for each: the
    value that requests nothing.
    """
    from mlflow.models import ModelSignature
    from mlflow.types import DataType, ParamSchema, ParamSpec

    from mlflow_onnx_flavor.scoring.parameters import DEFAULTS

    types = {
        list: DataType.string,
        str: DataType.string,
        int: DataType.long,
        float: DataType.double,
        bool: DataType.boolean,
    }
    own = list(signature.params.params) if signature.params else []
    known = {each.name for each in own}
    for name, default in DEFAULTS.items():
        if name not in known:
            shape = (-1,) if isinstance(default, list) else None
            own.append(ParamSpec(name, types[type(default)], default=default, shape=shape))
    return ModelSignature(signature.inputs, signature.outputs, ParamSchema(own))


def _local(model_uri: str, dst_path: str | None = None) -> Path:
    from mlflow_onnx_flavor.source.model import fetch_artifact

    folder = fetch_artifact(os.fspath(model_uri))
    if dst_path is None:
        return folder
    return Path(shutil.copytree(folder, dst_path, dirs_exist_ok=True))
