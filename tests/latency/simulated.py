"""Models that answer on a clock of their own: seconds of measuring pass in no time."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from mlflow_onnx_flavor.errors import WorkerTimeoutError
from mlflow_onnx_flavor.latency.contestants import Entrant, Participant
from mlflow_onnx_flavor.latency.workloads import PYFUNC
from mlflow_onnx_flavor.schemas.evidence import ModelIdentity
from tests.builders import CPU


class Clock:
    """In place of `time`: ``seconds`` only grow when somebody works."""

    def __init__(self):
        self.seconds = 0.0

    def perf_counter(self) -> float:
        return self.seconds


class SimulatedWorker:
    """Answers the tasks of a participant; ``call_seconds``: of one call, by batch size.

    ``fail(task, batch_size, number)`` may raise at the number-th call of the worker.
    """

    def __init__(
        self,
        clock: Clock,
        call_seconds: Mapping[int, float],
        noise: float = 0.0,
        fail: Callable[[str, int | None, int], None] = lambda *_: None,
        seed: int = 0,
    ):
        self.clock, self.call_seconds, self.noise, self.fail = clock, call_seconds, noise, fail
        self.limits_s: list[float] = []
        self.blocks = 0
        self._generator = np.random.default_rng(seed)

    def call(self, task: str, arguments: Mapping[str, Any], *, timeout_s: float) -> Any:
        name = task.rpartition(":")[2]
        batch_size = arguments.get("workload", {}).get("batch_size")
        if name == "run_block":
            self.limits_s.append(timeout_s)
            self.blocks += 1
        self.fail(name, batch_size, self.blocks)
        if name == "run_block":
            begun = self.clock.seconds
            times = self._block(batch_size, arguments["block_ms"], arguments["warmup_ms"])
            if self.clock.seconds - begun > timeout_s:
                raise WorkerTimeoutError(f"it ran past its limit of {timeout_s:g} s")
            return {PYFUNC: times}
        if name == "meet_workload":
            self.clock.seconds += self.call_seconds[batch_size]
            return 1_000_000
        return None

    def _block(self, batch_size: int, block_ms: float, warmup_ms: float) -> np.ndarray:
        one = self.call_seconds[batch_size] * np.exp(self._generator.normal(0, self.noise))
        calls = max(int(block_ms / 1e3 / one), 1)
        self.clock.seconds += calls * one + (warmup_ms / 1e3 if one < 0.2 else 0.0)
        return np.full(calls, one * 1e9)

    def kill(self) -> None:
        pass

    def close(self) -> None:
        pass


def participant(worker: SimulatedWorker, baseline: str = "") -> Participant:
    """One that is loaded already."""
    name = baseline or "converted"
    identity = ModelIdentity(name=name, uri=f"models:/{name}/1", digest="0", size_bytes=10)
    made = Participant(Entrant(identity, Path("."), None if baseline else CPU, baseline))
    made._worker = worker
    made._opened = {
        "load_seconds": 1.0,
        "first_call_ms": 2.0,
        "peak_memory_bytes": 1_000,
        "placement": {},
    }
    return made
