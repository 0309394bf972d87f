"""The MLflow server: check that it answers, and turn its refusals into sentences."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from email.utils import parsedate_to_datetime
from urllib.parse import urlparse

from mlflow_onnx_flavor.errors import (
    AccessDeniedError,
    ConfigurationError,
    OnnxFlavorError,
    RegistryError,
    ServerUnreachableError,
    one_line,
)
from mlflow_onnx_flavor.tracking.retrying import FIRST_PAUSE_S, breaks_off

HEALTH_TIMEOUT_S, HEALTH_TRIES = 5.0, 5  # the tries take two seconds where nobody listens
_HOW_TO_SIGN_IN = "MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or MLFLOW_TRACKING_TOKEN"


def check_server() -> None:
    """Raise ServerUnreachableError unless the tracking server answers one of a few requests.

    MLflow itself would retry a dead server for minutes.  Raises ConfigurationError for the URI of a
    database that cannot be used from here.
    """
    import mlflow
    import requests

    for uri in {mlflow.get_tracking_uri(), mlflow.get_registry_uri()}:
        if urlparse(uri).scheme not in ("http", "https"):
            _check_driver(uri)
            continue
        for number in range(HEALTH_TRIES):
            try:
                # Any answer will do: the next call finds out whether this client has the rights.
                requests.get(f"{uri.rstrip('/')}/health", timeout=HEALTH_TIMEOUT_S)
                break
            except requests.RequestException as error:
                if number + 1 < HEALTH_TRIES and not isinstance(error, requests.Timeout):
                    time.sleep(FIRST_PAUSE_S * 2**number)
                    continue
                raise ServerUnreachableError(
                    f"no MLflow server answers at {uri} ({type(error).__name__}); start it or"
                    " correct MLFLOW_TRACKING_URI or --tracking-uri"
                ) from error


def _check_driver(uri: str) -> None:
    """Raise ConfigurationError if ``uri`` names a database that cannot be used from here."""
    from mlflow.store.db.db_types import DATABASE_ENGINES
    from sqlalchemy.engine import make_url
    from sqlalchemy.exc import ArgumentError, NoSuchModuleError

    engine = uri.partition(":")[0]
    if engine.partition("+")[0] not in DATABASE_ENGINES:
        return
    try:
        make_url(uri).get_dialect().import_dbapi()
    except ImportError as error:
        raise ConfigurationError(
            f"the tracking URI {uri!r} names a database whose driver is not installed"
            f" ({one_line(error)}); install it with pip, or give the URI of an MLflow server"
        ) from error
    except (ArgumentError, NoSuchModuleError, ValueError) as error:
        raise ConfigurationError(
            f"the tracking URI {uri!r} names no database that can be used ({one_line(error)}); give"
            " http://HOST:PORT, sqlite:///FILE, or a database as SQLAlchemy writes it, such as"
            " postgresql://USER@HOST/NAME"
        ) from error


def server_error(error: BaseException) -> OnnxFlavorError | None:
    """Return the error to raise where ``error`` is MLflow's or the network's; otherwise None."""
    import mlflow
    import requests
    from mlflow.exceptions import MlflowException

    at = mlflow.get_tracking_uri()
    if isinstance(error, requests.RequestException):
        return ServerUnreachableError(
            f"the MLflow server at {at} stopped answering ({type(error).__name__}:"
            f" {one_line(error)}); start it again, or mend the network, and repeat the command"
        )
    if not isinstance(error, MlflowException):
        return None
    if breaks_off(error):
        return ServerUnreachableError(
            f"answers of the MLflow server at {at} break off ({one_line(error)}); mend the network,"
            " or the proxy between, and repeat the command"
        )
    return refusal_of(error) or RegistryError(
        f"MLflow at {at} answered: {one_line(error)}; correct what it names, and repeat the command"
    )


def server_time() -> float:
    """Return the seconds since the epoch by the clock of the MLflow server that keeps the registry.

    Times that others wrote must not be compared with this machine's clock, since machines differ.
    This machine's time is returned where the registry is a database or the server does not send its
    time.
    """
    import mlflow
    import requests

    uri = mlflow.get_registry_uri()
    if urlparse(uri).scheme in ("http", "https"):
        with suppress(requests.RequestException, KeyError, ValueError):
            answer = requests.get(f"{uri.rstrip('/')}/health", timeout=HEALTH_TIMEOUT_S)
            return parsedate_to_datetime(answer.headers["Date"]).timestamp()
    return time.time()


@contextmanager
def refusals() -> Iterator[None]:
    """Raise AccessDeniedError where the server denies a request; pass on every other error."""
    from mlflow.exceptions import MlflowException

    try:
        yield
    except MlflowException as error:
        refused = refusal_of(error)
        if refused is None:
            raise
        raise refused from error


def refusal_of(error: BaseException) -> AccessDeniedError | None:
    """Return an AccessDeniedError where ``error`` says that this user lacks the right; else None.

    Some of MLflow's clients drop the HTTP status, so the words of the message count as well.
    """
    import mlflow

    text, code = one_line(error), getattr(error, "error_code", "")
    if code == "PERMISSION_DENIED" or "error code 403" in text:
        user = os.environ.get("MLFLOW_TRACKING_USERNAME")
        return AccessDeniedError(
            f"the MLflow server at {mlflow.get_tracking_uri()} does not let"
            f" {f'user {user!r}' if user else 'this user'} do that ({text}); sign in as somebody"
            f" who may ({_HOW_TO_SIGN_IN}), or ask its administrator for the permission"
        )
    if code in ("UNAUTHENTICATED", "CUSTOMER_UNAUTHORIZED") or "code 401" in text:
        return AccessDeniedError(
            f"the MLflow server at {mlflow.get_tracking_uri()} wants a sign-in and does not take"
            f" the one that was given, if any ({text}); set {_HOW_TO_SIGN_IN}"
        )
    return None
