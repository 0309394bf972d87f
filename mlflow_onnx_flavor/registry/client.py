"""Calls of MLflow's registry, with its errors as sentences."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from mlflow_onnx_flavor.errors import ModelNotFoundError, OnnxFlavorError, RegistryError, one_line
from mlflow_onnx_flavor.tracking.retrying import retried
from mlflow_onnx_flavor.tracking.server import refusal_of

if TYPE_CHECKING:
    from mlflow.entities.model_registry import ModelVersion

PAGE = 200
# MLflow raises the second for a missing alias and for a version that is not a number.
ABSENT = ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE")


def get_version(name: str, version: str) -> ModelVersion:
    """Return the version; raise ModelNotFoundError where there is none."""
    from mlflow import MlflowClient
    from mlflow.exceptions import MlflowException

    try:
        return retried(lambda: MlflowClient().get_model_version(name, version))
    except MlflowException as error:
        if (refused := refusal_of(error)) is not None:
            raise refused from error
        if error.error_code not in ABSENT:
            raise RegistryError(
                f"the registry cannot tell version {version} of {name!r}: {one_line(error)}"
            ) from error
        raise ModelNotFoundError(
            f"there is no version {version} of a registered model {name!r} ({one_line(error)})"
        ) from error


def aliased_version(name: str, alias: str) -> str | None:
    """Return the version under ``alias``, None where the model or the alias does not exist."""
    from mlflow import MlflowClient
    from mlflow.exceptions import MlflowException

    try:
        found = retried(lambda: MlflowClient().get_model_version_by_alias(name, alias))
        return str(found.version)
    except MlflowException as error:
        if error.error_code in ABSENT:
            return None
        raise refusal_of(error) or RegistryError(
            f"the registry cannot tell alias {alias!r}: {one_line(error)}"
        ) from error


def versions_of(name: str) -> Iterator[ModelVersion]:
    """Yield every version of the registered model, page by page, the newest first."""
    from mlflow import MlflowClient

    quoted = name.replace("'", "\\'")
    token = None
    while True:
        page = retried(
            lambda: MlflowClient().search_model_versions(
                f"name='{quoted}'",
                max_results=PAGE,
                page_token=token,  # noqa: B023, called before the loop goes on
            )
        )
        yield from page
        token = page.token
        if not token:
            return


@contextmanager
def registry_errors(doing: str) -> Iterator[None]:
    """Raise MLflow's errors within the block as a RegistryError of one sentence."""
    from mlflow.exceptions import MlflowException

    try:
        yield
    except OnnxFlavorError:
        raise
    except MlflowException as error:
        failed = RegistryError(f"{doing} failed: {one_line(error)}")
        raise refusal_of(error) or failed from error
