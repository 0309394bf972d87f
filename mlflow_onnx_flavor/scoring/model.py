"""A logged model, opened: fed with what consumers give, answering as the source's pyfunc did."""

from __future__ import annotations

import inspect
import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import yaml

from .feeds import Feeder, inferred_feeds
from .opening import STRICT, open_session, placement_of
from .predictions import every_output, prediction_maker
from .providers import CPU
from .tokens import TOKENIZER_KEY

FLAVOR = "mlflow_onnx_flavor"

# What `load_session` and `mlflow.pyfunc.load_model` take as ``model_config``.
CONFIG_KEYS = ("execution_providers", "session_options", "fallback", "record_placement")

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

    ``predict(data, params=None)`` answers as the source's pyfunc did; with
    ``params={"outputs": [names]}`` it answers with a dictionary of these graph outputs.
    Thread-safe, as onnxruntime sessions are.
    """

    def __init__(self, session, graph: Mapping[str, Any] | None):
        self.session = session
        self.input_names = [each.name for each in session.get_inputs()]
        self.output_names = [each.name for each in session.get_outputs()]
        graph = graph or {}
        self._feeder = Feeder(
            graph.get("feeds") or inferred_feeds(session.get_inputs()),
            session.get_modelmeta().custom_metadata_map.get(TOKENIZER_KEY),
        )
        self.predict = self._make_predict(
            graph.get("prediction") or every_output(self.output_names)
        )

    def run(self, data: Any, outputs: Sequence[str] | None = None) -> dict[str, np.ndarray]:
        """The graph's outputs by name, as they are; all of them where ``outputs`` is None."""
        names = self.output_names if outputs is None else list(outputs)
        unknown = [name for name in names if name not in self.output_names]
        if unknown:
            raise ValueError(f"no output {unknown[0]!r}; the model has {self.output_names}")
        return dict(zip(names, self.session.run(names, self._feeder.feeds(data)), strict=True))

    def feeds(self, data: Any) -> dict[str, np.ndarray]:
        """The graph's inputs by name, as ``data`` gives them."""
        return self._feeder.feeds(data)

    def placement(self) -> dict[str, int]:
        """Nodes by the provider that runs them; for a session opened with ``record_placement``."""
        return placement_of(self.session)

    def _make_predict(self, spec: Mapping[str, Any]):
        names, make = prediction_maker(spec)
        run_session, feeds, run = self.session.run, self._feeder.feeds, self.run

        def predict(data, params=None):
            if params:
                outputs = params.get("outputs")
                if outputs is not None and len(outputs):
                    return run(data, _listed(outputs))
            return make(dict(zip(names, run_session(names, feeds(data)), strict=True)), data)

        predict.__signature__ = _PREDICT_SIGNATURE
        return predict


def _listed(outputs: Any) -> list[str]:
    return [outputs] if isinstance(outputs, str) else [str(each) for each in outputs]


def load_session(path: str, model_config: Mapping[str, Any] | None = None) -> ScoringSession:
    """Open a folder with an MLmodel file, or a bare ``.onnx`` file.

    ``model_config`` overrides what the model says: "execution_providers" (names, or dictionaries
    with name and options), "session_options", "fallback" ("strict" or "allow"),
    "record_placement".
    """
    path = os.fspath(path)
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
    unknown = [key for key in config if key not in CONFIG_KEYS]
    if unknown:
        raise ValueError(f"unknown model_config key {unknown[0]!r}; expected {list(CONFIG_KEYS)}")
    requested = config.get("execution_providers") or entry.get("execution_providers") or [CPU]
    session = open_session(
        file,
        [{"name": each} if isinstance(each, str) else dict(each) for each in requested],
        _merged(entry.get("session_options") or {}, config.get("session_options") or {}),
        config.get("fallback") or STRICT,
        bool(config.get("record_placement")),
    )
    return ScoringSession(session, entry.get("graph"))


def _merged(logged: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """The options that the model was logged with, under those that are given now."""
    entries = {**(logged.get("config_entries") or {}), **(given.get("config_entries") or {})}
    return {**logged, **given, "config_entries": entries}


def _flavor_entry(folder: str) -> dict[str, Any]:
    with open(os.path.join(folder, "MLmodel"), encoding="utf-8") as file:
        flavors = yaml.safe_load(file)["flavors"]
    if FLAVOR in flavors:
        return flavors[FLAVOR]
    if "onnx" in flavors:
        return {"data": flavors["onnx"]["data"]}
    raise ValueError(f"{folder!r} holds no ONNX model; its flavors are {sorted(flavors)}")
