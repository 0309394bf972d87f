"""Write a model's counters as metrics of an MLflow run at intervals, from a thread of its own."""

from __future__ import annotations

import atexit
import logging
import os
import socket
import threading
import time
import weakref
from collections.abc import Callable, Mapping
from typing import Any

_logger = logging.getLogger(__name__)

END_LIMIT_S = 10.0


class MetricsRun:
    """A thread that writes the figures of ``read`` to an MLflow run every ``seconds``.

    It writes once more when ``owner`` is gone or the process ends; ``read`` must therefore hold no
    reference to ``owner``.

    The run is created at the first writing, in the experiment that MLflow's environment variables
    name.  If a server cannot be reached, a warning is logged; the next writing tries again, and has
    the totals of the whole time.
    """

    def __init__(
        self,
        owner: Any,
        read: Callable[[], Mapping[str, float]],
        tags: Mapping[str, str],
        seconds: float,
    ):
        from mlflow import MlflowClient

        # The client is made here since it imports modules, and MLflow's import hooks have a lock:
        # two threads that import at once can wait for each other for ever.
        self._client = MlflowClient()
        self._read, self._tags, self._seconds = read, tags, seconds
        self._run_id: str | None = None
        self._step = 0
        self._reached = True
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._write_until_over, daemon=True)
        self._thread.start()
        atexit.register(self.end)
        weakref.finalize(owner, self._over.set).atexit = False  # never wait in a finalizer

    def end(self) -> None:
        """Write for the last time and end the run; return after END_LIMIT_S at the latest."""
        atexit.unregister(self.end)
        self._over.set()
        self._thread.join(END_LIMIT_S)

    def _write_until_over(self) -> None:
        over = False
        while not over:
            over = self._over.wait(self._seconds)
            try:
                self._write(over)
                self._reached = True
            except Exception as error:  # predictions go on, whatever the server answers
                if self._reached:
                    _logger.warning("metrics of serving could not be written: %s", str(error))
                self._reached = False
        atexit.unregister(self.end)

    def _write(self, over: bool) -> None:
        from mlflow.entities import Metric
        from mlflow.tracking.fluent import _get_experiment_id

        client = self._client
        if self._run_id is None:
            name = f"serving-{socket.gethostname()}-{os.getpid()}"
            experiment: Any = _get_experiment_id()
            run = client.create_run(experiment, tags=dict(self._tags), run_name=name)
            self._run_id = run.info.run_id
        now = int(time.time() * 1000)
        metrics = [Metric(name, value, now, self._step) for name, value in self._read().items()]
        client.log_batch(self._run_id, metrics=metrics)
        self._step += 1
        if over:
            client.set_terminated(self._run_id)
