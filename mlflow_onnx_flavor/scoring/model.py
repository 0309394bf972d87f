"""A logged model, opened: fed with what consumers give, answering as the source's pyfunc did."""

from __future__ import annotations

import ctypes
import inspect
import os
import threading
import weakref
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
import yaml

from . import settings
from .compiled import open_kept
from .feeds import Feeder, inferred_feeds, is_optional
from .frames import PROBABILITIES, frame_of
from .integrity import check_loaded
from .opening import ALLOW, STRICT, open_session, placement_of
from .operator_libraries import OPERATOR_LIBRARIES
from .parameters import Asked, asked_of, run_asked
from .predictions import every_output, prediction_maker
from .providers import CPU
from .rejections import FAILURES, REJECTIONS, failed, rejected
from .settings import PROVIDER_OPTIONS, checked
from .sharing import shared
from .surroundings import given_by_environment
from .tokens import TOKENIZER_KEY

FLAVOR = "mlflow_onnx_flavor"

# MLflow asks `inspect.signature` on every call (10 of its 14 µs); a signature that is set is found
# at once.
_PREDICT_SIGNATURE = inspect.Signature(
    [
        inspect.Parameter("data", inspect.Parameter.POSITIONAL_OR_KEYWORD),
        inspect.Parameter("params", inspect.Parameter.POSITIONAL_OR_KEYWORD, default=None),
    ]
)


class ScoringSession:
    """An ONNX model that takes a DataFrame, an array, or a dictionary of arrays.

    ``predict(data, params=None)`` answers as the source's pyfunc did; `parameters` says what
    ``params`` may hold.  Thread-safe, as onnxruntime sessions are, and in a process that was forked
    from the one that opened it.  ``reopen``: opens the model once more, on another execution
    provider where one is named.
    """

    def __init__(
        self,
        session,
        graph: Mapping[str, Any] | None,
        reopen: Callable[[str], Any] | None = None,
    ):
        self.use(session)
        self._reopen = reopen
        self._elsewhere: dict[str, Any] = {}
        self._opening = threading.Lock()
        _alive.add(self)
        taken = session.get_inputs()
        self.input_names = [each.name for each in taken]
        self.output_names = [each.name for each in session.get_outputs()]
        graph = graph or {}
        self._feeder = Feeder(
            graph.get("feeds") or inferred_feeds(taken),
            session.get_modelmeta().custom_metadata_map.get(TOKENIZER_KEY),
            shapes={each.name: each.shape for each in taken},
            optional={each.name for each in taken if is_optional(each)},
            weights=inferred_feeds(session.get_overridable_initializers()),
        )
        self._classes = graph.get("classes") or ()
        self.predict = self._make_predict(
            graph.get("prediction") or every_output(self.output_names)
        )

    def use(self, session: Any) -> None:
        """Answer with ``session`` from now on."""
        self.session = session
        self._run = _run_of(session)

    def run(self, data: Any, outputs: Sequence[str] | None = None) -> dict[str, np.ndarray]:
        """The graph's outputs by name, as they are; all of them where ``outputs`` is None."""
        names = self.output_names if outputs is None else list(outputs)
        self._check_outputs(names)
        return dict(zip(names, self._run(names, self._feeder.feeds(data), None), strict=True))

    def get_raw_model(self) -> Any:
        """The onnxruntime session, for `PyFuncModel.get_raw_model`."""
        return self.session

    def feeds(self, data: Any) -> dict[str, np.ndarray]:
        """The graph's inputs by name, as ``data`` gives them."""
        return self._feeder.feeds(data)

    def provider_of(self, params: Mapping[str, Any] | None = None) -> str:
        """The execution provider that answered under ``params``; after a fallback another one than
        was asked for.
        """
        asked = (params or {}).get("execution_provider") or ""
        return self._elsewhere.get(asked, self.session).get_providers()[0]

    def placement(self) -> dict[str, int]:
        """Nodes by the provider that runs them; for a session opened with ``record_placement``."""
        return placement_of(self.session)

    def _make_predict(self, spec: Mapping[str, Any]):
        names, make = prediction_maker(spec)
        feeds = self._feeder.feeds
        more = {PROBABILITIES} & set(self.output_names) - set(names)
        in_frame = [*names, *more]

        def answer(data, params, given):
            asked = asked_of(params) if params else None
            if asked is None:
                return make(self._run(names, given, None), data)
            outputs = list(asked.outputs) or (in_frame if asked.as_frame else names)
            self._check_outputs(outputs)
            answers = self._run_asked(outputs, given, asked)
            if not (asked.as_frame or asked.outputs):
                return make(answers, data)
            found = dict(zip(outputs, answers, strict=True))
            return frame_of(found, data, self._classes) if asked.as_frame else found

        def predict(data, params=None):
            given = None
            try:
                try:
                    given = feeds(data)
                except TypeError as error:  # of what was given; any other is a fault of ours
                    raise ValueError(str(error)) from error
                return answer(data, params, given)
            except REJECTIONS as error:
                raise rejected(error, self.session.get_inputs(), given) from error
            except FAILURES as error:
                raise failed(error) from error

        predict.__signature__ = _PREDICT_SIGNATURE
        return predict

    def observe(self, folder: str, wanted: Sequence[str], seconds: float, tracing: bool) -> None:
        """Count what is asked from now on, or trace it, or both; see `observing`."""
        from .observing import Observer

        observer = Observer(self, folder, wanted, seconds, tracing)

        def predict(data, params=None):
            return observer.predict(data, params)

        predict.__signature__ = _PREDICT_SIGNATURE
        self.predict = predict

    def _check_outputs(self, names: Sequence[str]) -> None:
        unknown = [name for name in names if name not in self.output_names]
        if unknown:
            raise ValueError(f"no output {unknown[0]!r}; the model has {self.output_names}")

    def _run_asked(self, names: Sequence[str], feeds: Any, asked: Asked) -> list[Any]:
        session = self.session
        if asked.execution_provider:
            session = self._on(asked.execution_provider)
        return run_asked(session, names, feeds, asked)

    def _on(self, provider: str) -> Any:
        """The session on that provider, opened when it is first asked for."""
        with self._opening:
            if provider not in self._elsewhere:
                if self._reopen is None:
                    raise ValueError("this session cannot be opened on another execution provider")
                self._elsewhere[provider] = self._reopen(provider)
            return self._elsewhere[provider]

    def _after_fork(self) -> None:
        """The threads of a session stay with the process that opened it: open it again, if used.

        The one that was inherited is kept for good: to end it is to wait for its threads.
        """
        for session in (self.session, *self._elsewhere.values()):
            ctypes.pythonapi.Py_IncRef(ctypes.py_object(session))
        self._elsewhere = {}
        self._opening = threading.Lock()
        if self._reopen is not None:
            self.use(_Reopening(self))


class _Reopening:
    """In place of a session, in a forked process that has not used it yet."""

    def __init__(self, owner: ScoringSession):
        self._owner = owner

    def __getattr__(self, name: str) -> Any:
        owner = self._owner
        with owner._opening:
            if owner.session is self:
                owner.use(owner._reopen(""))
        return getattr(owner.session, name)


def _run_of(session: Any) -> Callable[..., list[Any]]:
    """`InferenceSession.run` without what it checks of its arguments, which takes as long as a
    small model: the feeds were made for this graph.  What else it does, to try the CPU after an
    error, is left to it where it was asked to.
    """
    inner = getattr(session, "_sess", None) if isinstance(session, ort.InferenceSession) else None
    if inner is None or getattr(session, "_enable_fallback", True):
        return lambda names, feeds, options: session.run(names, feeds, options)
    return inner.run


_alive: weakref.WeakSet[ScoringSession] = weakref.WeakSet()


def _after_fork() -> None:
    for each in list(_alive):
        each._after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


def load_session(path: str, model_config: Mapping[str, Any] | None = None) -> ScoringSession:
    """Open a folder with an MLmodel file, or a bare ``.onnx`` file.

    ``model_config`` overrides what the model says: "execution_providers" (names, or
    dictionaries with name, options, and session options, those of the first over the model's),
    "session_options", "fallback" ("strict" or "allow"),
    "record_placement".  "digest": what the bytes of the model must be.  "cache_folder": where what
    onnxruntime made of it is kept for the next start (`compiled`).  "metrics_seconds", "tracing":
    see `observing`.  What stands in the environment (see `surroundings`) is between the two.
    """
    path = os.fspath(path)
    expected = checked(model_config or {}).get("digest")
    if expected:
        check_loaded(Path(path), expected)
    entry = {} if os.path.isfile(path) else _flavor_entry(path)
    file = path if os.path.isfile(path) else os.path.join(path, entry["data"])
    return _open(file, entry, model_config or {})


def open_graph(
    path: str, graph: Mapping[str, Any], model_config: Mapping[str, Any] | None = None
) -> ScoringSession:
    """Open an ``.onnx`` file under a graph specification; on the CPU unless ``model_config``."""
    return _open(os.fspath(path), {"graph": graph}, model_config or {})


def _load_pyfunc(path: str, model_config: Mapping[str, Any] | None = None) -> ScoringSession:
    """What `mlflow.pyfunc.load_model` calls."""
    return load_session(path, model_config)


def _open(file: str, entry: Mapping[str, Any], config: Mapping[str, Any]) -> ScoringSession:
    of_environment = given_by_environment()
    config = {**of_environment, **checked(config)}
    logged = settings.providers(entry.get("execution_providers") or [CPU])
    providers = config.get("execution_providers") or logged
    if providers is of_environment.get("execution_providers"):
        providers = [settings.as_logged(each["name"], logged) for each in providers]
    logged_options = settings.session_options(entry.get("session_options") or {})
    _check_options(providers)
    metrics_seconds, tracing = config.get("metrics_seconds") or 0.0, bool(config.get("tracing"))
    is_observed = metrics_seconds > 0 or tracing

    def reopen(provider: str = "") -> Any:
        known = [*providers, *logged]
        chosen = [settings.as_logged(provider, known)] if provider else providers
        of_provider = _merged(logged_options, chosen[0].get("session_options") or {})
        under = (
            chosen,
            _merged(of_provider, config.get("session_options") or {}),
            config.get("fallback") or STRICT,
            bool(config.get("record_placement")) or is_observed,
        )
        return shared(file, under, lambda: _opened(file, config.get("cache_folder"), *under))

    opened = ScoringSession(reopen(), entry.get("graph"), reopen)
    if is_observed:
        wanted = [each["name"] for each in providers]
        opened.observe(os.path.dirname(file), wanted, metrics_seconds, tracing)
    return opened


def _opened(
    file: str,
    cache_folder: str | None,
    providers: list[dict[str, Any]],
    options: dict[str, Any],
    fallback: str,
    record_placement: bool,
) -> Any:
    def opened(path: str, options: Mapping[str, Any]) -> Any:
        return open_session(path, providers, options, fallback, record_placement)

    if not cache_folder or fallback == ALLOW:  # what is kept must be one thing
        return opened(file, options)
    return open_kept(file, cache_folder, providers, options, opened)


def _check_options(providers: Sequence[Mapping[str, Any]]) -> None:
    """A library of operators is the model's, and is looked for where the model says it."""
    for each in providers:
        if OPERATOR_LIBRARIES in (each.get("session_options") or {}):
            raise ValueError(
                f"{OPERATOR_LIBRARIES} is no session option of {each['name']!r} alone; name it in"
                " the session options of the model"
            )


def _merged(logged: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """The options that the model was logged with, under those that are given now."""
    both = {
        name: {**(logged.get(name) or {}), **(given.get(name) or {})}
        for name in ("config_entries", PROVIDER_OPTIONS)
    }
    return {**logged, **given, **both}


def _flavor_entry(folder: str) -> dict[str, Any]:
    try:
        with open(os.path.join(folder, "MLmodel"), encoding="utf-8") as file:
            flavors = yaml.safe_load(file)["flavors"]
    except (FileNotFoundError, NotADirectoryError) as error:
        raise FileNotFoundError(
            f"{folder!r} is neither an .onnx file nor a folder with an MLmodel file"
        ) from error
    if FLAVOR in flavors:
        return flavors[FLAVOR]
    if "onnx" in flavors:
        return {"data": flavors["onnx"]["data"]}
    raise ValueError(f"{folder!r} holds no ONNX model; its flavors are {sorted(flavors)}")
