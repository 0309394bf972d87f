"""Resolve a model URI to a source model.  Only the MLmodel file is read, never a model."""

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
    """A model on this machine's disk, with the contents of its MLmodel file.

    ``uri``: the URI as the caller wrote it.  ``resolved_uri``: the URI with an alias replaced by
    the version that it pointed to.  ``folder``: the local folder with the MLmodel file, or a bare
    ``.onnx`` file.  ``signature``: None for a bare file, and for a model without a signature for
    which rows were given.
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
        """The model's identity for evidence, with credentials removed from its URI."""
        return ModelIdentity(
            name="source",
            uri=redact(self.resolved_uri),
            digest=self.digest,
            size_bytes=self.size_bytes,
        )


def resolve_source(
    model_uri: str, source_env: SourceEnv = "current", rows_are_given: bool = False
) -> SourceModel:
    """Fetch the model that ``model_uri`` names and return it with its metadata.

    ``model_uri``: ``models:/``, ``runs:/``, a folder, or an ``.onnx`` file.  With ``source_env``
    "recorded" the framework need not be installed here.  With ``rows_are_given`` a model without
    signature and example is accepted: the rows define its inputs.

    Raises ModelNotFoundError, ServerUnreachableError, CorruptModelError, UnsupportedModelError,
    MissingFrameworkError and MissingSignatureError, each with a sentence on what to do.
    """
    resolved_uri = resolve_alias(model_uri)
    # Fetch the version that the alias pointed to, even if it has moved since.
    folder = fetch(resolved_uri)
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
    """Return the local folder (or ``.onnx`` file) of ``model_uri``, downloaded where needed."""
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
    """Raise ModelNotFoundError or the server's refusal in place of MLflow's errors."""
    import mlflow
    from mlflow.exceptions import MlflowException

    check_server()
    try:
        yield
    except (MlflowException, OSError, ValueError) as error:  # ValueError: a malformed URI
        raise refusal_of(error) or errors.ModelNotFoundError(
            f"{model_uri!r} cannot be fetched from {mlflow.get_tracking_uri()}:"
            f" {one_line(error)}; check the URI and the tracking URI"
        ) from error


def fetch_artifact(model_uri: str) -> Path:
    """Return the local folder or file of an ONNX artifact, checked by `check_artifact`."""
    folder = fetch(model_uri)
    check_artifact(folder, model_uri)
    return folder


def check_artifact(folder: Path, model_uri: str) -> None:
    """Raise CorruptModelError unless an ONNX artifact is safe to open.

    It is safe if opening it runs and touches nothing foreign.  This is the only check before an
    ONNX artifact is opened.  ``folder``: the folder with the MLmodel file; a bare file needs no
    check.
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
    """Return the MLmodel file of ``folder``.

    Raises CorruptModelError where it is missing or cannot be read, and where that of an ONNX model
    requests foreign code (`artifact.trusted_code`).
    """
    from mlflow.exceptions import MlflowException
    from mlflow.models import Model
    from mlflow.models.model import MLMODEL_FILE_NAME

    try:
        metadata = Model.from_dict(parse_yaml(read_text(folder / MLMODEL_FILE_NAME)))
    except (
        *(MlflowException, OSError, ValueError, RecursionError),
        *(AttributeError, KeyError, TypeError),  # MLflow raises these on YAML of another shape
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
    """Return ``models:/NAME/VERSION`` for a URI whose version may change, any other URI unchanged.

    Such URIs are ``NAME@ALIAS``, ``NAME/latest`` and ``NAME/STAGE``.
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
    # Without any version, MLflow raises an error when the model is fetched.
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
