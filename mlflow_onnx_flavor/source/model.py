"""The source model: what a model URI leads to.  Only the MLmodel file is read, never a model."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from mlflow_onnx_flavor import errors, frameworks
from mlflow_onnx_flavor.artifact.digests import digest_of, digest_of_tree, size_of
from mlflow_onnx_flavor.artifact.trusted_code import check_code
from mlflow_onnx_flavor.errors import one_line
from mlflow_onnx_flavor.inputs.readers.example import logged_example
from mlflow_onnx_flavor.redaction import redact
from mlflow_onnx_flavor.schemas.configuration import SourceEnv
from mlflow_onnx_flavor.schemas.evidence import ModelIdentity
from mlflow_onnx_flavor.scoring.documents import parse_yaml, read_text
from mlflow_onnx_flavor.tracking.downloads import download
from mlflow_onnx_flavor.tracking.retrying import retried
from mlflow_onnx_flavor.tracking.server import check_server, refusal_of

if TYPE_CHECKING:
    from mlflow.models import Model
    from mlflow.models.signature import ModelSignature


@dataclass(frozen=True)
class SourceModel:
    """A model on this machine's disk, with what its MLmodel file says.

    ``uri``: as it was given.  ``resolved_uri``: what it names at this moment, a version instead of
    an alias.  ``folder``: the local folder with the MLmodel file, or a bare ``.onnx`` file.
    ``signature``: None for a bare file, and for a model without one that rows were given for.
    """

    uri: str
    resolved_uri: str
    folder: Path
    framework: str
    digest: str
    size_bytes: int
    signature: ModelSignature | None = None
    metadata: Model | None = None

    @property
    def identity(self) -> ModelIdentity:
        return ModelIdentity(
            name="source",
            uri=redact(self.resolved_uri),
            digest=self.digest,
            size_bytes=self.size_bytes,
        )


def resolve_source(
    model_uri: str, source_env: SourceEnv = "current", rows_are_given: bool = False
) -> SourceModel:
    """Fetch what ``model_uri`` names: ``models:/``, ``runs:/``, a folder, or an ``.onnx`` file.

    With ``source_env`` "recorded" the framework need not be installed here.  With
    ``rows_are_given`` a model without signature and example is taken: the rows say what it takes.
    Raises ModelNotFoundError, ServerUnreachableError, CorruptModelError, UnsupportedModelError,
    MissingFrameworkError and MissingSignatureError, each with a sentence on what to do.
    """
    resolved_uri = resolve_alias(model_uri)
    folder = fetch(resolved_uri)  # what an alias pointed to then, also where it has moved since
    if folder.suffix == ".onnx" and folder.is_file():
        return SourceModel(
            uri=model_uri,
            resolved_uri=model_uri,
            folder=folder,
            framework="onnx",
            digest=digest_of(folder),
            size_bytes=size_of(folder),
        )
    metadata = read_metadata(folder, model_uri)
    framework = frameworks.recognise(metadata.flavors)
    if source_env == "current":
        frameworks.check_installed(framework)
    return SourceModel(
        uri=model_uri,
        resolved_uri=resolved_uri,
        folder=folder,
        framework=framework,
        digest=digest_of_tree(folder),
        size_bytes=size_of(folder),
        signature=_signature(metadata, folder, model_uri, rows_are_given),
        metadata=metadata,
    )


def fetch(model_uri: str) -> Path:
    """The local folder (or ``.onnx`` file) that ``model_uri`` names, downloaded where needed."""
    local = Path(model_uri.removeprefix("file://"))
    if local.exists():
        return local.resolve()
    if ":/" not in model_uri:
        raise errors.ModelNotFoundError(
            f"there is no file or folder {model_uri!r}; give a folder with an MLmodel file, an"
            " .onnx file, or a model URI such as models:/NAME/VERSION or runs:/RUN_ID/NAME"
        )
    with _reaching(model_uri):
        return retried(lambda: download(model_uri))


@contextmanager
def _reaching(model_uri: str) -> Iterator[None]:
    """Raise ModelNotFoundError or what the server refuses for MLflow's errors on ``model_uri``."""
    import mlflow
    from mlflow.exceptions import MlflowException

    check_server()
    try:
        yield
    except (MlflowException, OSError, ValueError) as error:  # the last by MLflow, on odd URIs
        raise refusal_of(error) or errors.ModelNotFoundError(
            f"{model_uri!r} cannot be fetched from {mlflow.get_tracking_uri()}:"
            f" {one_line(error)}; check the URI and the tracking URI"
        ) from error


def fetch_artifact(model_uri: str) -> Path:
    """`fetch`, of an ONNX artifact that is about to be opened, checked by `check_artifact`."""
    folder = fetch(model_uri)
    check_artifact(folder, model_uri)
    return folder


def check_artifact(folder: Path, model_uri: str) -> None:
    """The one check before an ONNX artifact is opened: it may run and touch nothing foreign.

    ``folder``: with an MLmodel file; a bare file has nothing to check.  Raises CorruptModelError.
    """
    if not folder.is_dir():
        return
    flavors = read_metadata(folder, model_uri).flavors
    name = frameworks.recognise(flavors)
    if name != "onnx":
        raise errors.CorruptModelError(
            f"{model_uri!r} is no ONNX artifact: its MLmodel file names the flavor"
            f" {frameworks.flavor_of(flavors, name)!r}; convert it with: mlflow-onnx convert"
        )


def read_metadata(folder: Path, model_uri: str) -> Model:
    """The MLmodel file of ``folder``.

    Raises CorruptModelError where it is missing or cannot be read, and where that of an ONNX model
    asks for foreign code (`artifact_code`).
    """
    from mlflow.exceptions import MlflowException
    from mlflow.models import Model
    from mlflow.models.model import MLMODEL_FILE_NAME

    try:
        metadata = Model.from_dict(parse_yaml(read_text(folder / MLMODEL_FILE_NAME)))
    except (
        *(MlflowException, OSError, ValueError, RecursionError),
        *(AttributeError, KeyError, TypeError),  # what MLflow raises on YAML of another shape
    ) as error:
        raise errors.CorruptModelError(
            f"{model_uri!r} has no readable MLmodel file ({one_line(error)}); log the model again"
        ) from error
    flavors = metadata.flavors
    if not flavors or not isinstance(flavors, dict):
        raise errors.CorruptModelError(
            f"the MLmodel file of {model_uri!r} names no flavor; log the model again"
        )
    if not all(isinstance(entry, dict | None) for entry in flavors.values()):
        raise errors.CorruptModelError(
            f"the MLmodel file of {model_uri!r} has a flavor without entries; log the model again"
        )
    _check_example(metadata, model_uri)
    if frameworks.is_onnx(flavors):
        check_code(folder, flavors, model_uri)
    return metadata


def _check_example(metadata: Model, model_uri: str) -> None:
    """Raise CorruptModelError where the input example would be read from outside the folder."""
    example = metadata.saved_input_example_info or {}
    for key in ("artifact_path", "serving_input_path"):
        location = example.get(key) if isinstance(example, dict) else None
        if location and (os.path.isabs(str(location)) or ".." in Path(str(location)).parts):
            raise errors.CorruptModelError(
                f"the MLmodel file of {model_uri!r} has its input example in {location!r}, outside"
                " its own folder; log the model again"
            )


def resolve_alias(model_uri: str) -> str:
    """Return ``models:/NAME/VERSION`` for what names a version that may change: ``NAME@ALIAS``,
    ``NAME/latest`` and ``NAME/STAGE``; every other URI as it is.
    """
    from mlflow import MlflowClient

    rest = model_uri.removeprefix("models:/")
    name, slash, suffix = rest.rpartition("/")
    if not model_uri.startswith("models:/") or suffix.isdigit():
        return model_uri
    name_of_alias, at, alias = rest.rpartition("@")
    if not slash and not at:
        return model_uri
    client = MlflowClient()
    with _reaching(model_uri):
        if not slash:
            version = client.get_model_version_by_alias(name_of_alias, alias).version
            return f"models:/{name_of_alias}/{version}"
        stages = None if suffix.lower() == "latest" else [suffix]
        newest = client.get_latest_versions(name, stages)
    # Where there is none, MLflow says so when it is fetched.
    return f"models:/{name}/{max((int(each.version) for each in newest), default=suffix)}"


def _signature(
    metadata: Model, folder: Path, model_uri: str, rows_are_given: bool
) -> ModelSignature | None:
    from mlflow.models import infer_signature

    if metadata.signature is not None and metadata.signature.inputs is not None:
        return metadata.signature
    example = logged_example(metadata, folder)
    if example is not None:
        return infer_signature(example)
    if rows_are_given:
        return None
    raise errors.MissingSignatureError(
        f"{model_uri!r} was logged without a signature and without an input example, so its inputs"
        " are unknown; log it again with input_example=X[:5], or add a signature with"
        " mlflow.models.set_signature(model_uri, mlflow.models.infer_signature(X, predictions))"
    )
