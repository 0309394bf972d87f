"""The end of a command: exit status, one sentence on standard error, traceback in the log."""

from __future__ import annotations

import logging
import os
import sys
import tempfile
import traceback
from collections.abc import Callable
from pathlib import Path

from mlflow_onnx_flavor.cli.output import redacted_output
from mlflow_onnx_flavor.errors import OnnxFlavorError, one_line
from mlflow_onnx_flavor.machine.disk import storage_error
from mlflow_onnx_flavor.machine.scratch import as_temporary_directory, temporary_directory
from mlflow_onnx_flavor.redaction import redact
from mlflow_onnx_flavor.tracking.server import server_error

DONE, ERROR, WRONG_USAGE, GATE_FAILED, NOT_CONVERTIBLE = range(5)

# 128 + SIGINT, as shells report it.
INTERRUPTED = 130


def run_guarded(work: Callable[[], int]) -> int:
    """Run ``work`` and return its exit status; an error becomes one sentence and its own status.

    An error of another type is a bug or a broken installation: its traceback goes to a file that
    the sentence names.  ``MLFLOW_ONNX_TRACEBACK=1`` prints the traceback.
    """
    _quiet_libraries()
    with redacted_output():
        return _guarded(work)


def _guarded(work: Callable[[], int]) -> int:
    try:
        with as_temporary_directory():
            return work()
    except KeyboardInterrupt:
        print("mlflow-onnx: interrupted", file=sys.stderr)
        return INTERRUPTED
    except Exception as error:  # last resort: print one sentence, and keep the traceback in a file
        known = _known(error)
        if known:
            said, status = str(known), known.exit_status
        else:
            path = _write_traceback(error)
            said = f"unexpected {type(error).__name__}: {one_line(error)} (details in {path})"
            status = ERROR
        print(f"mlflow-onnx: {said}", file=sys.stderr)
        _keep_traceback(error)
        return status


def _known(error: Exception) -> OnnxFlavorError | None:
    """Return the error as one of this package's, where its cause is a disk, MLflow or the network.

    Return None for a bug.
    """
    if isinstance(error, OnnxFlavorError):
        return error
    if (of_disk := storage_error(error)) is not None or "mlflow" not in sys.modules:
        return of_disk
    return server_error(error)


def _keep_traceback(error: BaseException) -> None:
    if os.environ.get("MLFLOW_ONNX_TRACEBACK"):
        traceback.print_exception(error)
    whole = redact("".join(traceback.format_exception(error)))
    logging.getLogger("mlflow_onnx_flavor").debug("the command failed: %s", whole)


def _write_traceback(error: BaseException) -> Path:
    handle, name = tempfile.mkstemp(
        prefix="mlflow-onnx-error-", suffix=".log", dir=temporary_directory()
    )
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        file.writelines(map(redact, traceback.format_exception(error)))
    return Path(name)


def _quiet_libraries() -> None:
    """Silence the start messages of MLflow and Alembic, and switch off MLflow's telemetry.

    A user wants the answer, and a command talks to the user's server and to nobody else.
    """
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    for name in ("mlflow", "alembic"):
        if not os.environ.get("MLFLOW_LOGGING_LEVEL"):
            logging.getLogger(name).setLevel(logging.ERROR)
    os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "ERROR")
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
