"""The contestants of a measurement: processes that each hold one model as it is served."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mlflow_onnx_flavor.errors import (
    OnnxFlavorError,
    WorkerCrashedError,
    WorkerOutOfMemoryError,
    WorkerTimeoutError,
    one_line,
)
from mlflow_onnx_flavor.latency.workloads import Workload
from mlflow_onnx_flavor.machine.hardware import cores_allowed
from mlflow_onnx_flavor.processes.pool import SpareWorkers
from mlflow_onnx_flavor.processes.worker import Worker
from mlflow_onnx_flavor.schemas.evidence import (
    ExecutionProvider,
    LoadFigures,
    LoadRow,
    ModelIdentity,
    Status,
)

TASKS = "mlflow_onnx_flavor.latency.tasks"
OPEN_TIMEOUT_S = 300.0

SavedInputs = Mapping[int | None, Path]  # by sequence length


@dataclass(frozen=True)
class Entrant:
    """A model that is to be measured.

    ``provider``: the execution provider, None to load the model as it was logged.  ``baseline``:
    "source" or "champion" for a model that candidates are compared with, "" for a candidate.
    ``python``: the interpreter that runs it.  ``threads``: onnxruntime's number of threads, None to
    use what the model says.
    """

    identity: ModelIdentity
    folder: Path
    provider: ExecutionProvider | None
    baseline: str = ""
    python: str = sys.executable
    threads: int | None = None


class Participant:
    """One model in a process of its own.

    ``failures``: status and cause for each workload at which the model failed.  An error that the
    model raises fails that workload alone; after a crash or a time-out the process is gone, and
    ``status`` and ``cause`` say why.  ``spares``: the pool that the process of an ONNX model comes
    from.
    """

    def __init__(self, entrant: Entrant, spares: SpareWorkers | None = None):
        self.entrant = entrant
        self._spares = spares
        self.status: Status = "measured"
        self.cause = ""
        self.failures: dict[Workload, tuple[Status, str]] = {}
        self._worker: Worker | None = None
        self._stopped = False
        self._opened: dict[str, Any] | None = None
        self._peak_memory_bytes = 0

    @property
    def running(self) -> bool:
        """Return whether the process runs and has neither crashed nor timed out."""
        return self.status == "measured" and self._worker is not None

    @property
    def pid(self) -> int:
        """Return the process id; `open` starts the process."""
        assert self._worker is not None, "open() starts the process"
        return self._worker.pid

    def open(self, inputs: SavedInputs, first: Workload) -> None:
        """Start the process and load the model; record a failure instead of raising it.

        ``inputs``: the saved rows by sequence length; ``first``: the workload of the first call.
        """
        provider = self.entrant.provider
        try:
            self._worker = self._start(f"{self.entrant.identity.name} under measurement")
        except OSError as error:  # no memory, processes or file handles left
            self.status, self.cause = "failed", f"its process did not start: {error}"
            return
        if self._stopped:  # `stop` was called meanwhile, from another thread
            self._worker.kill()
        self._opened = self._call(
            "open_model",
            {
                "path": self.entrant.folder,
                "provider": None if provider is None else provider.model_dump(),
                "inputs": list(inputs.items()),
                "first": first.as_arguments(),
                "threads": self.entrant.threads,
            },
            OPEN_TIMEOUT_S,
        )
        if self._opened is not None:
            self._peak_memory_bytes = self._opened["peak_memory_bytes"]

    def _start(self, name: str) -> Worker:
        # The source's own memory is measured, so its process holds nothing that it does not need.
        if self.entrant.baseline == "source":
            return Worker(name=name, python=self.entrant.python)
        return (self._spares or SpareWorkers()).take(name)

    def runs_at(self, workload: Workload) -> bool:
        """Return whether the model can still be measured at this workload."""
        return self.running and workload not in self.failures

    def failure_at(self, workload: Workload) -> tuple[Status, str] | None:
        """Return status and cause if the model failed at that workload or altogether, else None."""
        gone = None if self.running else (self.status, self.cause)
        return self.failures.get(workload, gone)

    def meet(self, workload: Workload, timeout_s: float) -> None:
        """Warm up: let the model answer its first calls at this workload."""
        peak = self.ask("meet_workload", workload, timeout_s)
        self._peak_memory_bytes = max(self._peak_memory_bytes, peak or 0)

    def meet_session(self, workload: Workload, timeout_s: float) -> None:
        """Warm up the session alone, after all of `meet`, whose peak memory is reported."""
        self.ask("meet_session", workload, timeout_s)

    def run_block(
        self, workload: Workload, block_ms: float, warmup_ms: float, timeout_s: float
    ) -> dict[str, np.ndarray] | None:
        """Run one block and return nanoseconds of each call by path; None after a failure.

        Returns when the threads of the process sleep, so that the next contestant has all cores.
        """
        if not self.runs_at(workload):
            return None
        limits = {"block_ms": block_ms, "warmup_ms": warmup_ms}
        times = self.ask("run_block", workload, timeout_s, **limits)
        self._call("come_to_rest", {}, timeout_s)
        if self.status == "timed out":
            self.cause = (
                f"a block of calls with batch size {workload} ran past {timeout_s:g} s, its share"
                " of the time: give more budget seconds"
            )
        return times

    def ask(self, task: str, workload: Workload, timeout_s: float, **arguments: Any) -> Any:
        """Return the answer of a task about a workload; None after a failure, now or before."""
        if not self.runs_at(workload):
            return None
        return self._call(
            task, {"workload": workload.as_arguments(), **arguments}, timeout_s, workload
        )

    def load_row(self) -> LoadRow | None:
        """Return the cost of loading and the peak memory of all workloads; None if never loaded."""
        if self._opened is None:
            return None
        return LoadRow(
            model=self.entrant.identity.name,
            execution_provider=self.entrant.provider,
            threads=self.entrant.threads,
            placement=self._opened["placement"],
            figures=LoadFigures(
                load_seconds=self._opened["load_seconds"],
                first_call_ms=self._opened["first_call_ms"],
                peak_memory_bytes=self._peak_memory_bytes,
                size_bytes=self.entrant.identity.size_bytes or _size_of(self.entrant.folder),
            ),
        )

    def stop(self) -> None:
        """Kill the process, which frees a thread that waits for it; `close` must still follow."""
        self._stopped = True
        if self._worker is not None:
            self._worker.kill()

    def close(self) -> None:
        """End the process."""
        if self._worker is not None:
            self._worker.close()

    def _call(
        self,
        task: str,
        arguments: dict[str, Any],
        timeout_s: float,
        workload: Workload | None = None,
    ) -> Any:
        """Return the task's answer; None after a failure.

        An error that the model raises is recorded for ``workload`` if there is one; a crash or a
        time-out ends the contestant.
        """
        if not self.running or self._worker is None:
            return None
        try:
            return self._worker.call(f"{TASKS}:{task}", arguments, timeout_s=timeout_s)
        except OnnxFlavorError as error:
            status = _status(error)
            cause = one_line(error)
            if status == "failed" and workload is not None:
                self.failures[workload] = status, cause
                return None
            self.status, self.cause = status, cause
            self.close()  # frees its memory and threads for the others
            return None


def open_all(participants: Sequence[Participant], inputs: SavedInputs, first: Workload) -> None:
    """Start all contestants, as many at a time as there are cores, since most of it is importing.

    An interrupt kills those that are loading; the caller closes them in any case.
    """
    pool = ThreadPoolExecutor(cores_allowed())
    try:
        list(pool.map(lambda each: each.open(inputs, first), participants))
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
    """Return the bytes of a file, or of all files in a folder."""
    files = [path] if path.is_file() else [each for each in path.rglob("*") if each.is_file()]
    return sum(each.stat().st_size for each in files)
