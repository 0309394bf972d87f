"""Tuning: find session settings that are faster than onnxruntime's own, if there are any.

Sessions of all settings live in one process, whose thread pools sleep between blocks, so that none
takes the cores from another.
"""

from __future__ import annotations

import gc
import logging
import time
from collections.abc import Hashable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mlflow_onnx_flavor.errors import one_line
from mlflow_onnx_flavor.inputs import Inputs
from mlflow_onnx_flavor.latency.halving import Halving
from mlflow_onnx_flavor.latency.settings import settings_to_try
from mlflow_onnx_flavor.latency.tasks import BATCHES, MIN_CALLS, come_to_rest
from mlflow_onnx_flavor.machine.hardware import cores_allowed
from mlflow_onnx_flavor.schemas.tuning import Settings, TriedSettings, Tuning

log = logging.getLogger(__name__)

BLOCK_MS, WARMUP_MS = 8.0, 2.0
# All sessions together hold at most this many bytes of weights: large models get fewer settings.
MOST_WEIGHTS_BYTES = 2_000_000_000


def tune(
    model: Path,
    graph: Mapping[str, Any],
    inputs: Inputs,
    provider: Mapping[str, Any],
    batch_sizes: Sequence[int],
    confidence: float,
    seconds: float,
) -> Tuning:
    """Return settings for the session of the file ``model`` on ``provider`` ({"name", "options"}).

    ``seconds``: about how long to measure.  Settings are chosen if they are faster than the default
    by more than the interval, and at no batch size slower by more than the interval.
    """
    begun = time.perf_counter()
    contest = _Contest(model, graph, inputs, provider, batch_sizes)
    most = max(int(MOST_WEIGHTS_BYTES / max(_bytes_beside(model), 1)), 1)
    tried = settings_to_try(cores_allowed(), provider["name"])[:most]
    contest.open([{}, *tried])
    halving = Halving(len(tried), contest.block, seconds)
    found = halving.best(confidence)
    number, against = found or (0, {})
    named = {"all" if size is None else str(size): each for size, each in against.items()}
    return Tuning(
        tried=tuple(
            TriedSettings(
                settings=each,
                rounds=len(halving.logs[at]),
                rung=halving.rung.get(at, 0),
                times_as_fast=_middle(halving.logs[at]),
                cause=contest.causes.get(at, ""),
            )
            for at, each in enumerate(tried, 1)
        ),
        best=tried[number - 1] if number else None,
        against_default=named,
        chosen=bool(named)
        and named["all"].low > 1
        and all(each.high >= 1 for each in named.values()),
        cores=cores_allowed(),
        seconds=time.perf_counter() - begun,
    )


class _Contest:
    """The sessions of all settings, and the feeds on which they take turns."""

    def __init__(
        self,
        model: Path,
        graph: Mapping[str, Any],
        inputs: Inputs,
        provider: Mapping[str, Any],
        batch_sizes: Sequence[int],
    ):
        self.causes: dict[int, str] = {}
        self._model, self._graph, self._provider = model, graph, dict(provider)
        self._inputs, self._batch_sizes = inputs, sorted(set(batch_sizes))
        self._sessions: dict[int, Any] = {}
        self._feeds: dict[int, list[Any]] = {}
        self._calls = 0

    def open(self, all_settings: Sequence[Settings]) -> None:
        """Open a session for each setting; leave out one that does not open, and note its cause."""
        from mlflow_onnx_flavor.scoring import open_graph

        for number, settings in enumerate(all_settings):
            config = {"execution_providers": [self._provider], "session_options": settings}
            try:
                opened = open_graph(self._model, self._graph, config)
                if not self._feeds:
                    self._feeds = self._batches(opened)
                for size in self._batch_sizes:
                    opened.session.run(None, self._feeds[size][0])
            except Exception as error:  # onnxruntime's errors have no common base
                if number == 0:
                    raise
                log.info("settings %s are left out", settings, exc_info=True)
                self.causes[number] = one_line(error)
                continue
            self._sessions[number] = opened.session

    def block(self, number: int) -> dict[Hashable, float] | None:
        """Return the median nanoseconds of a call of that session in one block, by batch size."""
        session = self._sessions.get(number)
        if session is None:
            return None
        gc.collect()
        gc.disable()
        try:
            times: dict[Hashable, float] = {}
            for size in self._batch_sizes:
                times[size] = self._median(session, size)
        finally:
            gc.enable()
        come_to_rest()
        return times

    def _batches(self, opened: Any) -> dict[int, list[Any]]:
        return {
            size: [opened.feeds(self._inputs.batch(size, at * size).data) for at in range(BATCHES)]
            for size in self._batch_sizes
        }

    def _median(self, session: Any, size: int) -> float:
        feeds = self._feeds[size]
        times: list[int] = []
        begun = time.perf_counter_ns()
        while len(times) < MIN_CALLS or time.perf_counter_ns() - begun < BLOCK_MS * 1e6:
            self._calls += 1
            data = feeds[self._calls % len(feeds)]
            call = time.perf_counter_ns()
            session.run(None, data)
            now = time.perf_counter_ns()
            if now - begun > WARMUP_MS * 1e6 or len(times) < MIN_CALLS:
                times.append(now - call)
        return float(np.median(times))


def _middle(logs: Sequence[float]) -> float | None:
    return float(np.exp(np.median(logs))) if logs else None


def _bytes_beside(model: Path) -> int:
    """Return the bytes of the model's file and of the weights beside it."""
    return sum(each.stat().st_size for each in model.parent.iterdir() if each.is_file())
