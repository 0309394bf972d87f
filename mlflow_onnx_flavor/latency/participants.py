"""The participants of a measurement: processes that each hold one model as it is served."""

from __future__ import annotations

import sys
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
from mlflow_onnx_flavor.spare_workers import SpareWorkers
from mlflow_onnx_flavor.worker import Worker

TASKS = "mlflow_onnx_flavor.latency.tasks"
OPEN_TIMEOUT_S = 300.0


@dataclass(frozen=True)
class Entrant:
    """A model that is to take part.

    ``provider``: None to load it as it was logged.  ``baseline``: "source" or "champion" for what
    candidates are held against, "" for a candidate.  ``python``: the interpreter that it runs on.
    """

    identity: ModelIdentity
    folder: Path
    provider: ExecutionProvider | None
    baseline: str = ""
    python: str = sys.executable


class Participant:
    """One model in its process.

    ``failures``: batch size -> status and cause, of those at which it failed.  An error of the
    model's own stays with its batch size; after a crash or a time-out the process is gone, and
    ``status`` and ``cause`` say why.  ``spares``: where the process of a candidate comes from.
    """

    def __init__(self, entrant: Entrant, spares: SpareWorkers | None = None):
        self.entrant = entrant
        self._spares = spares
        self.status: Status = "measured"
        self.cause = ""
        self.failures: dict[int, tuple[Status, str]] = {}
        self._worker: Worker | None = None
        self._stopped = False
        self._opened: dict[str, float] | None = None
        self._peak_memory_bytes = 0

    @property
    def running(self) -> bool:
        return self.status == "measured" and self._worker is not None

    def open(self, inputs_path: Path, batch_sizes: Sequence[int]) -> None:
        """Start the process and load the model; a failure is remembered, not raised."""
        provider = self.entrant.provider
        try:
            self._worker = self._start(f"{self.entrant.identity.name} under measurement")
        except OSError as error:  # no memory, processes or file handles left
            self.status, self.cause = "failed", f"its process did not start: {error}"
            return
        if self._stopped:  # meanwhile, from another thread
            self._worker.kill()
        self._opened = self._call(
            "open_model",
            {
                "path": self.entrant.folder,
                "provider": None if provider is None else provider.model_dump(),
                "inputs_path": inputs_path,
                "batch_sizes": list(batch_sizes),
            },
            OPEN_TIMEOUT_S,
        )
        if self._opened is not None:
            self._peak_memory_bytes = self._opened["peak_memory_bytes"]

    def _start(self, name: str) -> Worker:
        # A source's own memory is measured: nothing is in its process that it does not need.
        takes_spare = self._spares is not None and not self.entrant.baseline
        return (
            self._spares.take(name)
            if takes_spare
            else Worker(name=name, python=self.entrant.python)
        )

    def runs_at(self, batch_size: int) -> bool:
        return self.running and batch_size not in self.failures

    def meet(self, batch_size: int, timeout_s: float) -> None:
        """Let the model answer its first call at this batch size."""
        peak = self._call("meet_batch_size", {"batch_size": batch_size}, timeout_s, batch_size)
        self._peak_memory_bytes = max(self._peak_memory_bytes, peak or 0)

    def run_block(
        self, batch_size: int, block_ms: float, warmup_ms: float, timeout_s: float
    ) -> np.ndarray | None:
        """Nanoseconds of each call of a block; None where the participant failed, now or before.

        Returns when its threads have come to rest, so that the next participant has all cores.
        """
        if not self.runs_at(batch_size):
            return None
        arguments = {"batch_size": batch_size, "block_ms": block_ms, "warmup_ms": warmup_ms}
        times = self._call("run_block", arguments, timeout_s, batch_size)
        self._call("come_to_rest", {}, timeout_s)
        if self.status == "timed out":
            self.cause = (
                f"a block of calls with batch size {batch_size} ran past {timeout_s:g} s, its share"
                " of the time: give more budget seconds"
            )
        return times

    def load_row(self) -> LoadRow | None:
        """What it cost to load; None where it never did.

        After a crash the peak memory is what was known before.
        """
        if self._opened is None:
            return None
        peak = self._call("peak_memory", {}, OPEN_TIMEOUT_S) or self._peak_memory_bytes
        return LoadRow(
            model=self.entrant.identity.name,
            execution_provider=self.entrant.provider,
            figures=LoadFigures(
                load_seconds=self._opened["load_seconds"],
                first_call_ms=self._opened["first_call_ms"],
                peak_memory_bytes=peak,
                size_bytes=self.entrant.identity.size_bytes or _size_of(self.entrant.folder),
            ),
        )

    def stop(self) -> None:
        """End the process, which lets a thread that waits for it go on; `close` is still due."""
        self._stopped = True
        if self._worker is not None:
            self._worker.kill()

    def close(self) -> None:
        if self._worker is not None:
            self._worker.close()

    def _call(
        self, task: str, arguments: dict[str, Any], timeout_s: float, batch_size: int | None = None
    ) -> Any:
        """The task's answer; None after a failure, which is of ``batch_size`` only if it can be."""
        if not self.running:
            return None
        try:
            return self._worker.call(f"{TASKS}:{task}", arguments, timeout_s=timeout_s)
        except OnnxFlavorError as error:
            status = _status(error)
            cause = (str(error).strip() or type(error).__name__).splitlines()[0]
            if status == "failed" and batch_size is not None:
                self.failures[batch_size] = status, cause
                return None
            self.status, self.cause = status, cause
            self.close()  # its memory and threads are the others' now
            return None


def open_all(
    participants: Sequence[Participant], inputs_path: Path, batch_sizes: Sequence[int]
) -> None:
    """Start all, as many at a time as there are cores, since most of it is importing.

    An interrupt ends those that are loading; closing them is the caller's part in any case.
    """
    pool = ThreadPoolExecutor(cores_allowed())
    try:
        list(pool.map(lambda each: each.open(inputs_path, batch_sizes), participants))
    except BaseException:
        for each in participants:
            each.stop()
        raise
    finally:
        pool.shutdown(cancel_futures=True)


def _status(error: OnnxFlavorError) -> Status:
    if isinstance(error, WorkerTimeoutError):
        return "timed out"
    if isinstance(error, WorkerCrashedError | WorkerOutOfMemoryError):
        return "crashed"
    return "failed"


def _size_of(path: Path) -> int:
    """Bytes of a file, or of all files in a folder."""
    files = [path] if path.is_file() else [each for each in path.rglob("*") if each.is_file()]
    return sum(each.stat().st_size for each in files)
