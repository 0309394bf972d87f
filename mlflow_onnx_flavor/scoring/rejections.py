"""Turn errors on unfit input into one sentence that MLflow's server answers with status 400."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from onnxruntime.capi.onnxruntime_pybind11_state import Fail, InvalidArgument, RuntimeException

from .providers import ExecutionProviderUnavailable

# Errors that unfit input causes, here and in onnxruntime.
REJECTIONS = (ValueError, InvalidArgument)
# Errors that end a run that has begun, and the error for a provider that is not available.
FAILURES = (Fail, RuntimeException, TimeoutError, ExecutionProviderUnavailable)
_NO_MEMORY = "llocat"  # "Failed to allocate memory", "bad allocation", "bad_alloc"


def rejected(
    error: Exception, inputs: Sequence[Any], feeds: Mapping[str, Any] | None
) -> ValueError:
    """Return ``error`` as a ValueError, which is also an MlflowException where MLflow is loaded.

    ``inputs``: the graph's, as onnxruntime describes them.  ``feeds``: their values if they were
    made; then the message names the first input whose shape does not fit.
    """
    said = str(error)
    if isinstance(error, InvalidArgument):
        said = _misfit(inputs, feeds or {}) or said.partition("\n")[0]
    if "mlflow.exceptions" not in sys.modules:
        return ValueError(said)
    from mlflow.exceptions import INVALID_PARAMETER_VALUE, MlflowException

    kind = type("RejectedInput", (MlflowException, ValueError), {})
    return kind(said, error_code=INVALID_PARAMETER_VALUE)


def failed(error: Exception) -> Exception:
    """Return ``error`` in one sentence, as an MlflowException where MLflow is loaded.

    It has a status of its own; MLflow's server answers any other error with a traceback.
    """
    if "mlflow.exceptions" not in sys.modules:
        return error
    from mlflow import exceptions

    said, code = str(error).partition("\n")[0], exceptions.INVALID_PARAMETER_VALUE
    if isinstance(error, TimeoutError):
        code = exceptions.DEADLINE_EXCEEDED
    elif isinstance(error, Fail | RuntimeException):
        said = f"the model cannot compute this input: {said}"
        code = exceptions.INTERNAL_ERROR if _NO_MEMORY in said else code
    kind = type("FailedPrediction", (exceptions.MlflowException, type(error)), {})
    return kind(said, error_code=code)


def _misfit(inputs: Sequence[Any], feeds: Mapping[str, Any]) -> str:
    for each in inputs:
        shape = np.shape(feeds.get(each.name, ()))
        wanted = each.shape or []
        fits = len(shape) == len(wanted) and all(
            not isinstance(size, int) or size == length
            for size, length in zip(wanted, shape, strict=True)
        )
        if each.name in feeds and wanted and not fits:
            names = [size if isinstance(size, int) else size or "any" for size in wanted]
            return (
                f"input {each.name!r} takes an array of shape ({', '.join(map(str, names))}),"
                f" not {shape}"
            )
    return ""
