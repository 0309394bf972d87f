"""Open a logged model that takes a consumer's data and answers as the source's pyfunc did."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from . import settings
from .compiled import open_kept
from .entry import entry_of, graph_path
from .feeds import Feeder, inferred_feeds, is_optional
from .frames import PROBABILITIES, frame_of
from .integrity import check_loaded
from .observing import Observer
from .opened import OpenedModel
from .opening import ALLOW, NOTHING, STRICT, open_session, placement_of
from .parameters import asked_of, run_asked
from .predictions import every_output, prediction_maker
from .rejections import FAILURES, REJECTIONS, failed, rejected
from .runtimes import CPU
from .settings import PROVIDER_OPTIONS, checked
from .sharing import shared
from .surroundings import given_by_environment
from .tokens import TOKENIZER_KEY

# MLflow calls `inspect.signature` for every prediction (10 of its 14 µs); a signature that is set
# as an attribute is found at once.
_PREDICT_SIGNATURE = inspect.Signature(
    [
        inspect.Parameter("data", inspect.Parameter.POSITIONAL_OR_KEYWORD),
        inspect.Parameter("params", inspect.Parameter.POSITIONAL_OR_KEYWORD, default=None),
    ]
)


class ScoringSession:
    """An ONNX model that takes a DataFrame, an array, or a dictionary of arrays.

    ``predict(data, params=None)`` answers as the source's pyfunc did; `parameters` lists what
    ``params`` may hold.  Thread-safe, as onnxruntime sessions are; it also works in a process that
    was forked from the one that opened it.  ``reopen``: opens the model once more, on the execution
    provider that is named or, for "", on the model's own.
    """

    def __init__(
        self,
        session,
        graph: Mapping[str, Any] | None,
        reopen: Callable[[str], Any] | None = None,
    ):
        self._opened = OpenedModel(session, reopen)
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

    @property
    def session(self) -> Any:
        """The onnxruntime session that answers."""
        return self._opened.session

    def run(self, data: Any, outputs: Sequence[str] | None = None) -> dict[str, np.ndarray]:
        """Return the graph's outputs by name, as they are; all of them if ``outputs`` is None."""
        names = self.output_names if outputs is None else list(outputs)
        _check_outputs(names, self.output_names)
        return dict(zip(names, self._opened.run(names, self.feeds(data), None), strict=True))

    def get_raw_model(self) -> Any:
        """Return the onnxruntime session, for `PyFuncModel.get_raw_model`."""
        return self.session

    def feeds(self, data: Any) -> dict[str, np.ndarray]:
        """Return the graph's inputs by name, made from ``data``."""
        return self._feeder.feeds(data)

    def provider_of(self, params: Mapping[str, Any] | None = None) -> str:
        """Return the execution provider that answers under ``params``."""
        return self._opened.provider_of(params)

    def placement(self) -> dict[str, int]:
        """Return the number of nodes by provider; the session needs ``record_placement``."""
        return placement_of(self.session)

    def _make_predict(self, spec: Mapping[str, Any]):
        names, make = prediction_maker(spec)
        # The function must not hold self, see `OpenedModel`.
        feeds, classes, opened = self._feeder.feeds, self._classes, self._opened
        known = self.output_names
        in_frame = [*names, *({PROBABILITIES} & set(known) - set(names))]

        def answer(data, params, given):
            asked = asked_of(params) if params else None
            if asked is None:
                return make(opened.run(names, given, None), data)
            outputs = list(asked.outputs) or (in_frame if asked.as_frame else names)
            _check_outputs(outputs, known)
            on = asked.execution_provider
            answers = run_asked(opened.on(on) if on else opened.session, outputs, given, asked)
            if not (asked.as_frame or asked.outputs):
                return make(answers, data)
            found = dict(zip(outputs, answers, strict=True))
            return frame_of(found, data, classes) if asked.as_frame else found

        def predict(data, params=None):
            given = None
            try:
                try:
                    given = feeds(data)
                except TypeError as error:  # caused by the data; any other error is a fault of ours
                    raise ValueError(str(error)) from error
                return answer(data, params, given)
            except REJECTIONS as error:
                raise rejected(error, opened.session.get_inputs(), given) from error
            except FAILURES as error:
                raise failed(error) from error

        predict.__signature__ = _PREDICT_SIGNATURE  # type: ignore[attr-defined]  # functions take it
        return predict

    def observe(self, folder: str, wanted: Sequence[str], seconds: float, tracing: bool) -> None:
        """Count the requests from now on, trace them, or both; see `observing`."""
        observer = Observer(self, folder, wanted, seconds, tracing)

        def predict(data, params=None):
            return observer.predict(data, params)

        predict.__signature__ = _PREDICT_SIGNATURE  # type: ignore[attr-defined]  # functions take it
        self.predict = predict


def _check_outputs(names: Sequence[str], known: Sequence[str]) -> None:
    unknown = [name for name in names if name not in known]
    if unknown:
        raise ValueError(f"no output {unknown[0]!r}; the model has {known}")


def load_session(path: str, model_config: Mapping[str, Any] | None = None) -> ScoringSession:
    """Open a folder with an MLmodel file, or a bare ``.onnx`` file.

    ``model_config`` overrides the model's own settings:

    - "execution_providers": names, or dictionaries with name, options and session options; the
      session options of the first provider override the model's
    - "session_options": those of the model
    - "fallback": "strict" or "allow"
    - "record_placement": whether onnxruntime records the provider of each node
    - "digest": the digest that the files of the model must have
    - "cache_folder": the folder where onnxruntime's form of the model is kept for the next start
      (`compiled`)
    - "metrics_seconds", "tracing": see `observing`

    Settings in environment variables (see `surroundings`) override the model's own, and
    ``model_config`` overrides them.
    """
    path = os.fspath(path)
    expected = checked(model_config or {}).get("digest")
    if expected:
        check_loaded(Path(path), expected)
    entry = {} if os.path.isfile(path) else entry_of(path)
    file = path if os.path.isfile(path) else graph_path(path, entry["data"])
    return _open(file, entry, model_config or {})


def open_graph(
    path: str, graph: Mapping[str, Any], model_config: Mapping[str, Any] | None = None
) -> ScoringSession:
    """Open an ``.onnx`` file with a graph specification, on the CPU unless configured otherwise."""
    return _open(os.fspath(path), {"graph": graph}, model_config or {})


def _load_pyfunc(path: str, model_config: Mapping[str, Any] | None = None) -> ScoringSession:
    """Open the model for `mlflow.pyfunc.load_model`, which calls this function."""
    return load_session(path, model_config)


def _open(file: str, entry: Mapping[str, Any], config: Mapping[str, Any]) -> ScoringSession:
    of_environment = given_by_environment()
    config = {**of_environment, **checked(config)}
    logged = settings.providers(entry.get("execution_providers") or [CPU])
    providers = config.get("execution_providers") or logged
    if providers is of_environment.get("execution_providers"):
        providers = [settings.as_logged(each["name"], logged) for each in providers]
    logged_options = settings.session_options(entry.get("session_options") or {})
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
    def opened(path: str, options: Mapping[str, Any], kept: Mapping[str, Any] = NOTHING) -> Any:
        return open_session(path, providers, options, fallback, record_placement, kept)

    if not cache_folder or fallback == ALLOW:  # else another provider's might be kept
        return opened(file, options)
    return open_kept(file, cache_folder, providers, options, opened)


def _merged(logged: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options that the model was logged with, overridden by ``given``."""
    both = {
        name: {**(logged.get(name) or {}), **(given.get(name) or {})}
        for name in ("config_entries", PROVIDER_OPTIONS)
    }
    return {**logged, **given, **both}
