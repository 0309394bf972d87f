"""The participants of a measurement: processes that each hold one model as it is served."""

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
    """A model that is to take part.

    ``provider``: None to load it as it was logged.  ``baseline``: "source" or "champion" for what
    candidates are held against, "" for a candidate.  ``python``: the interpreter that it runs on.
    ``threads``: of onnxruntime, None for what the model says.
    """

    identity: ModelIdentity
    folder: Path
    provider: ExecutionProvider | None
    baseline: str = ""
    python: str = sys.executable
    threads: int | None = None


class Participant:
    """One model in its process.

    ``failures``: workload -> status and cause, of those at which it failed.  An error of the
    model's own stays with its workload; after a crash or a time-out the process is gone, and
    ``status`` and ``cause`` say why.  ``spares``: where the process of an ONNX model comes from.
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
        return self.status == "measured" and self._worker is not None

    @property
    def pid(self) -> int:
        assert self._worker is not None, "open() starts the process"
        return self._worker.pid

    def open(self, inputs: SavedInputs, first: Workload) -> None:
        """Start the process and load the model; a failure is remembered, not raised.

        ``inputs``: the rows at each sequence length; ``first``: of the first call.
        """
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
                "inputs": list(inputs.items()),
                "first": first.as_arguments(),
                "threads": self.entrant.threads,
            },
            OPEN_TIMEOUT_S,
        )
        if self._opened is not None:
            self._peak_memory_bytes = self._opened["peak_memory_bytes"]

    def _start(self, name: str) -> Worker:
        # A source's own memory is measured: nothing is in its process that it does not need.
        if self.entrant.baseline == "source":
            return Worker(name=name, python=self.entrant.python)
        return (self._spares or SpareWorkers()).take(name)

    def runs_at(self, workload: Workload) -> bool:
        return self.running and workload not in self.failures

    def failure_at(self, workload: Workload) -> tuple[Status, str] | None:
        """Status and cause, where it failed at that workload or altogether."""
        gone = None if self.running else (self.status, self.cause)
        return self.failures.get(workload, gone)

    def meet(self, workload: Workload, timeout_s: float) -> None:
        """Let the model answer its first calls at this workload."""
        peak = self.ask("meet_workload", workload, timeout_s)
        self._peak_memory_bytes = max(self._peak_memory_bytes, peak or 0)

    def meet_session(self, workload: Workload, timeout_s: float) -> None:
        """The same of its session alone; after all of `meet`, whose peak memory is what counts."""
        self.ask("meet_session", workload, timeout_s)

    def run_block(
        self, workload: Workload, block_ms: float, warmup_ms: float, timeout_s: float
    ) -> dict[str, np.ndarray] | None:
        """Nanoseconds of each call of a block by path; None where it failed, now or before.

        Returns when its threads have come to rest, so that the next participant has all cores.
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
        """The answer of a task about a workload; None after a failure, now or before."""
        if not self.runs_at(workload):
            return None
        return self._call(
            task, {"workload": workload.as_arguments(), **arguments}, timeout_s, workload
        )

    def load_row(self) -> LoadRow | None:
        """What it cost to load, and the peak of its memory until all workloads were met; None
        where it never loaded.
        """
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
        """End the process, which lets a thread that waits for it go on; `close` is still due."""
        self._stopped = True
        if self._worker is not None:
            self._worker.kill()

    def close(self) -> None:
        if self._worker is not None:
            self._worker.close()

    def _call(
        self,
        task: str,
        arguments: dict[str, Any],
        timeout_s: float,
        workload: Workload | None = None,
    ) -> Any:
        """The task's answer; None after a failure, which is of ``workload`` only if it can be."""
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
            self.close()  # its memory and threads are the others' now
            return None


def open_all(participants: Sequence[Participant], inputs: SavedInputs, first: Workload) -> None:
    """Start all, as many at a time as there are cores, since most of it is importing.

    An interrupt ends those that are loading; closing them is the caller's part in any case.
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
    """Bytes of a file, or of all files in a folder."""
    files = [path] if path.is_file() else [each for each in path.rglob("*") if each.is_file()]
    return sum(each.stat().st_size for each in files)
