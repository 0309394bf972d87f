"""How a command ends: an exit status, one sentence on standard error, the traceback in the log."""

from __future__ import annotations

import logging
import os
import sys
import tempfile
import traceback
from collections.abc import Callable
from pathlib import Path

from mlflow_onnx_flavor.errors import OnnxFlavorError, one_line
from mlflow_onnx_flavor.machine.disk import storage_error

DONE, ERROR, WRONG_USAGE, GATE_FAILED, NOT_CONVERTIBLE = range(5)

# 128 + SIGINT, as shells report it.
INTERRUPTED = 130


def run_guarded(work: Callable[[], int]) -> int:
    """Run ``work`` and return its exit status; an error becomes one sentence and its own status.

    An error that is not ours is a bug or a broken installation: its traceback goes to a file that
    the sentence names.  ``MLFLOW_ONNX_TRACEBACK=1`` prints it instead.
    """
    _quiet_libraries()
    try:
        return work()
    except KeyboardInterrupt:
        print("mlflow-onnx: interrupted", file=sys.stderr)
        return INTERRUPTED
    except Exception as error:  # the last line of defence: said plainly, and kept whole in a file
        known = error if isinstance(error, OnnxFlavorError) else storage_error(error)
        if known:
            said, status = str(known), known.exit_status
        else:
            path = _write_traceback(error)
            said = f"unexpected {type(error).__name__}: {one_line(error)} (details in {path})"
            status = ERROR
        print(f"mlflow-onnx: {said}", file=sys.stderr)
        _keep_traceback(error)
        return status


def _keep_traceback(error: BaseException) -> None:
    if os.environ.get("MLFLOW_ONNX_TRACEBACK"):
        traceback.print_exception(error)
    logging.getLogger("mlflow_onnx_flavor").debug("the command failed", exc_info=error)


def _write_traceback(error: BaseException) -> Path:
    handle, name = tempfile.mkstemp(prefix="mlflow-onnx-error-", suffix=".log")
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        file.writelines(traceback.format_exception(error))
    return Path(name)


def _quiet_libraries() -> None:
    """MLflow and Alembic report every start; a person wants the answer.  Nor does MLflow report to
    its makers: a command talks to the user's server and to nobody else.
    """
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    for name in ("mlflow", "alembic"):
        if not os.environ.get("MLFLOW_LOGGING_LEVEL"):
            logging.getLogger(name).setLevel(logging.ERROR)
    os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "ERROR")
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
