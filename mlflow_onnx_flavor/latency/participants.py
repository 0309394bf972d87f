"""The participants of a measurement: processes that each hold one model as it is served."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mlflow_onnx_flavor.environment import cores_allowed
from mlflow_onnx_flavor.errors import (
    OnnxFlavorError,
    WorkerCrashedError,
    WorkerOutOfMemoryError,
    WorkerTimeoutError,
)
from mlflow_onnx_flavor.evidence import (
    ExecutionProvider,
    LoadFigures,
    LoadRow,
    ModelIdentity,
    Status,
)
from mlflow_onnx_flavor.worker import Worker

TASKS = "mlflow_onnx_flavor.latency.tasks"
OPEN_TIMEOUT_S = 300.0


@dataclass(frozen=True)
class Entrant:
    """A model that is to take part.  ``provider``: None for a source in its own framework."""

    identity: ModelIdentity
    folder: Path
    provider: ExecutionProvider | None

    @property
    def key(self) -> tuple[str, str]:
        """Model name and provider with its options: what tells participants apart."""
        return self.identity.name, "" if self.provider is None else self.provider.model_dump_json()


class Participant:
    """One model in its process.  After a failure ``status`` and ``cause`` say what happened."""

    def __init__(self, entrant: Entrant):
        self.entrant = entrant
        self.status: Status = "measured"
        self.cause = ""
        self._worker: Worker | None = None
        self._load_seconds = self._first_call_ms = 0.0
        self._peak_memory_bytes = 0

    @property
    def running(self) -> bool:
        return self.status == "measured" and self._worker is not None

    def open(self, inputs_path: Path, batch_sizes: Sequence[int]) -> None:
        """Start the process and load the model; a failure is remembered, not raised."""
        provider = self.entrant.provider
        self._worker = Worker(name=f"{self.entrant.identity.name} under measurement")
        opened = self._call(
            "open_model",
            {
                "path": self.entrant.folder,
                "provider": None if provider is None else provider.model_dump(),
                "inputs_path": inputs_path,
                "batch_sizes": list(batch_sizes),
            },
            OPEN_TIMEOUT_S,
        )
        if opened is not None:
            self._load_seconds = opened["load_seconds"]
            self._first_call_ms = opened["first_call_ms"]

    def run_block(
        self, batch_size: int, calls: int, warmup_calls: int, timeout_s: float
    ) -> np.ndarray | None:
        """Nanoseconds of ``calls`` calls; None where the participant failed, now or before."""
        arguments = {"batch_size": batch_size, "calls": calls, "warmup_calls": warmup_calls}
        return self._call("run_block", arguments, timeout_s)

    def load_row(self) -> LoadRow | None:
        """What it cost to load; None where it never did."""
        if not self.running:
            return None
        peak = self._call("peak_memory", {}, OPEN_TIMEOUT_S)
        return LoadRow(
            model=self.entrant.identity.name,
            execution_provider=self.entrant.provider,
            figures=LoadFigures(
                load_seconds=self._load_seconds,
                first_call_ms=self._first_call_ms,
                peak_memory_bytes=peak or 0,
                size_bytes=self.entrant.identity.size_bytes,
            ),
        )

    def close(self) -> None:
        if self._worker is not None:
            self._worker.close()

    def _call(self, task: str, arguments: dict[str, Any], timeout_s: float) -> Any:
        if not self.running:
            return None
        try:
            return self._worker.call(f"{TASKS}:{task}", arguments, timeout_s=timeout_s)
        except OnnxFlavorError as error:
            self.status = _status(error)
            self.cause = str(error).strip().splitlines()[0]
            return None


def open_all(
    entrants: Sequence[Entrant], inputs_path: Path, batch_sizes: Sequence[int]
) -> list[Participant]:
    """Start all, as many at a time as there are cores, since most of it is importing."""
    participants = [Participant(each) for each in entrants]
    with ThreadPoolExecutor(cores_allowed()) as pool:
        list(pool.map(lambda each: each.open(inputs_path, batch_sizes), participants))
    return participants


def _status(error: OnnxFlavorError) -> Status:
    if isinstance(error, WorkerTimeoutError):
        return "timed out"
    if isinstance(error, WorkerCrashedError | WorkerOutOfMemoryError):
        return "crashed"
    return "failed"
