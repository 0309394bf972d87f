"""Count and trace a model's predictions for the administrator of a server.

``metrics_seconds``: the interval at which counters are written to an MLflow run (`metrics_run`).
``tracing``: each prediction is an MLflow trace of one span, "predict", with the shapes of data and
answer, never their values.  Without either, a session's ``predict`` is not wrapped and costs
nothing more.
"""

from __future__ import annotations

import contextlib
import functools
import json
import logging
import os
import threading
import time
import weakref
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from .counters import FAILED, REJECTED, Counters
from .documents import parse_yaml, read_text
from .frames import rows_of
from .metrics_run import MetricsRun
from .opening import before_cpu, placement_of
from .rejections import REJECTIONS

_logger = logging.getLogger(__name__)

TAG = "mlflow_onnx_flavor"


class Observer:
    """An observer that counts the answers of ``session``, and traces them if ``tracing`` is set.

    ``folder``: that of the MLmodel file, if there is one.  ``wanted``: the execution providers that
    the session was to run on, in order.
    """

    def __init__(
        self,
        session: Any,
        folder: str,
        wanted: Sequence[str],
        metrics_seconds: float = 0.0,
        tracing: bool = False,
    ):
        logged = _logged(folder)
        self._answer = session.predict
        self._provider_of = session._opened.provider_of  # not the session: it holds this object
        providers = session.session.get_providers()
        self._seconds = metrics_seconds
        self._tracing = tracing
        self._starting = threading.Lock()
        self._run: MetricsRun | None = None
        self.counters = Counters()
        self.input_schema = _input_schema(logged)
        self.fell_back = any(name not in providers for name in before_cpu(wanted))
        self.tags = {
            f"{TAG}.model": folder,
            f"{TAG}.model_id": str(logged.get("model_id") or logged.get("model_uuid") or ""),
            f"{TAG}.execution_providers": ",".join(wanted),
            f"{TAG}.nodes": json.dumps(placement_of(session.session)),
            f"{TAG}.fallback": str(self.fell_back).lower(),
        }
        _observers.add(self)
        _watch_what_mlflow_refuses()

    def predict(self, data: Any, params: Mapping[str, Any] | None = None) -> Any:
        """Return the session's answer, counted and traced."""
        with self._span(data) as span, self._rejections():
            begun = time.perf_counter_ns()
            found = self._answer(data, params)
            taken, provider = time.perf_counter_ns() - begun, self._provider_of(params)
            self.counters.answered(rows_of(data) or 0, provider, taken)
            if span is not None:
                span.set_attribute("execution_provider", provider)
                span.set_outputs(_described(found))
        return found

    def refused(self, data: Any, error: Exception) -> None:
        """Count a request that MLflow refused because ``data`` does not match the signature.

        The model was not called.
        """
        with contextlib.suppress(type(error)), self._span(data), self._rejections():
            raise error

    @contextlib.contextmanager
    def _rejections(self) -> Iterator[None]:
        self._begin_writing()
        try:
            yield
        except Exception as error:
            is_ours = isinstance(error, REJECTIONS) or type(error).__name__ == "MlflowException"
            self.counters.unanswered(REJECTED if is_ours else FAILED)
            raise

    @contextlib.contextmanager
    def _span(self, data: Any) -> Iterator[Any]:
        if not self._tracing:
            yield None
            return
        import mlflow

        attributes = {**self.tags, "rows": rows_of(data) or 0}
        with mlflow.start_span("predict", attributes=attributes) as span:
            span.set_inputs(_described(data))
            yield span

    def _begin_writing(self) -> None:
        """Start writing metrics in the process that answers.

        It need not be the process that loaded the model.
        """
        if self._seconds and self._run is None:
            with self._starting:
                if self._run is None:
                    read = functools.partial(_read, self.counters, self.fell_back)
                    self._run = MetricsRun(self, read, self.tags, self._seconds)

    def _after_fork(self) -> None:
        self.counters, self._starting, self._run = Counters(), threading.Lock(), None


def _read(counters: Counters, fell_back: bool) -> dict[str, float]:
    return {**counters.read(), "fallback": float(fell_back)}


_observers: weakref.WeakSet[Observer] = weakref.WeakSet()


def _after_fork() -> None:
    for each in list(_observers):
        each._after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


def _watch_what_mlflow_refuses() -> None:
    """Wrap MLflow's check of the signature, since MLflow reports a refusal to the caller alone."""
    try:
        from mlflow import pyfunc

        check = pyfunc._validate_prediction_input
    except (ImportError, AttributeError):
        _logger.warning("inputs that MLflow itself refuses are not counted under this MLflow")
        return
    wrapped = check
    while wrapped is not None:  # each model brings a copy of this module, which may have wrapped it
        if getattr(wrapped, "for_module", "") == __name__:
            return
        wrapped = getattr(wrapped, "__wrapped__", None)

    @functools.wraps(check)
    def watched(data, params, input_schema, *more, **named):
        try:
            return check(data, params, input_schema, *more, **named)
        except Exception as error:
            for each in list(_observers):
                if each.input_schema == input_schema:
                    each.refused(data, error)
            raise

    watched.for_module = __name__  # type: ignore[attr-defined]  # functions take it
    pyfunc._validate_prediction_input = watched  # type: ignore[attr-defined]  # a lazy module


def _logged(folder: str) -> dict[str, Any]:
    file = Path(folder) / "MLmodel"
    return parse_yaml(read_text(file)) if file.is_file() else {}


def _input_schema(logged: Mapping[str, Any]) -> Any:
    inputs = (logged.get("signature") or {}).get("inputs")
    if not inputs:
        return None
    from mlflow.types import Schema

    return Schema.from_json(inputs)


def _described(values: Any) -> Any:
    """Return types and shapes in place of values, which may be private."""
    if isinstance(values, Mapping):
        return {str(name): _described(each) for name, each in values.items()}
    if hasattr(values, "columns"):
        types = {str(name): str(each) for name, each in values.dtypes.items()}
        return {"shape": list(values.shape), "columns": types}
    if hasattr(values, "dtype"):
        return {"shape": list(values.shape), "dtype": str(values.dtype)}
    kind = type(values).__name__
    return {"type": kind, "length": len(values)} if hasattr(values, "__len__") else {"type": kind}
