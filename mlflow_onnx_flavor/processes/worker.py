"""Run work in a child process with limits on time and memory; a crash becomes an error.

    with Worker() as worker:
        answer = worker.call("mlflow_onnx_flavor.parity.tasks:score", {"model": path}, timeout_s=60)

A task is a public function of this package, named ``module:function``.  It stays loaded in the
child between calls, so module state (a loaded model, for example) lasts as long as the worker.
Only JSON, numpy arrays and DataFrames cross the boundary (`serialization.py`), no pickles.
"""

from __future__ import annotations

import math
import os
import selectors
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from mlflow_onnx_flavor import errors
from mlflow_onnx_flavor.machine.scratch import new_folder, scratch_root
from mlflow_onnx_flavor.processes import forkserver
from mlflow_onnx_flavor.processes.confinement import allowed_variables, hide_this_process
from mlflow_onnx_flavor.processes.raised import rebuild
from mlflow_onnx_flavor.processes.serialization import decode, encode

PACKAGE = Path(__file__).resolve().parent.parent
# Modules that the tasks of models need, whatever framework made the model.  Every subpackage that
# has tasks for processes keeps them in its file tasks.py, so the files are found by that name.  All
# workers share one list, since a server of `forkserver` has one.
PRELOADED = (
    "mlflow.pyfunc",
    "onnxruntime",
    *(f"{PACKAGE.name}.{file.parent.name}.tasks" for file in sorted(PACKAGE.glob("*/tasks.py"))),
)
LOG_TAIL_CHARACTERS = 4000
POLL_SECONDS = 0.1


class Worker:
    """A child process that runs tasks one after another.

    ``python``: the interpreter, this one by default.  ``environment``: variables set on top of the
    parent's variables that a child gets (`confinement`).  ``memory_limit_bytes``: resident memory
    beyond which the child is killed (where /proc exists).  ``name``: for messages.  ``preload``:
    modules that the child has imported already, or imports while the parent does other work
    (`forkserver`); ignored in another environment.
    """

    def __init__(
        self,
        *,
        python: str = sys.executable,
        environment: Mapping[str, str] | None = None,
        memory_limit_bytes: int | None = None,
        name: str = "worker",
        preload: Sequence[str] = (),
    ):
        if is_foreign(python):  # another environment may lack the requirements of these modules
            preload = ()
        self.name = name
        self._memory_limit_bytes = memory_limit_bytes
        self._folder = new_folder("worker")
        self._log = (self._folder / "log.txt").open("w+b")
        self._count = 0
        hide_this_process()
        try:
            variables = child_environment(environment or {}) | self._path_of_package(python)
            self._process: Any  # ForkedProcess, or Popen with its pipes, which serves as one
            if preload and forkserver.SUPPORTED:
                self._process = forkserver.forked(preload, variables, self._folder, self._log)
            else:
                self._process = subprocess.Popen(
                    [
                        python,
                        "-m",
                        "mlflow_onnx_flavor.processes.child",
                        str(self._folder),
                        *preload,
                    ],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=self._log,
                    env=variables,
                    start_new_session=True,
                )
        except BaseException:
            self._log.close()
            shutil.rmtree(self._folder, ignore_errors=True)
            raise
        self._answers = selectors.DefaultSelector()
        self._answers.register(self._process.stdout, selectors.EVENT_READ)

    def _path_of_package(self, python: str) -> dict[str, str]:
        """Return PYTHONPATH for another environment: this package alone, without its neighbours."""
        if not is_foreign(python):
            return {}
        alone = self._folder / "package"
        alone.mkdir()
        (alone / PACKAGE.name).symlink_to(PACKAGE, target_is_directory=True)
        return {"PYTHONPATH": str(alone)}

    @property
    def pid(self) -> int:
        """The id of the child process; 0 where a forked one has ended."""
        pid: int = self._process.pid
        return pid

    @property
    def alive(self) -> bool:
        """True while the child process runs."""
        return self._process.poll() is None

    def call(
        self,
        task: str,
        arguments: Mapping[str, Any] | None = None,
        *,
        timeout_s: float | None = None,
    ) -> Any:
        """Run ``task`` ("module:function") with keyword ``arguments`` and return its answer.

        Raises the child's own `OnnxFlavorError`, `WorkerTaskError` for any other exception, or
        `WorkerCrashedError`, `WorkerTimeoutError`, `WorkerOutOfMemoryError`; after one of these
        three the worker is dead.
        """
        self._send(task, arguments or {})
        return self._receive(task, timeout_s)

    def _send(self, task: str, arguments: Mapping[str, Any]) -> None:
        self._count += 1
        request = encode(
            {"task": task, "arguments": dict(arguments)}, self._folder, f"q{self._count}"
        )
        try:
            self._process.stdin.write(request + b"\n")
            self._process.stdin.flush()
        except (BrokenPipeError, ValueError):
            raise self._crashed(task) from None

    def _receive(self, task: str, timeout_s: float | None) -> Any:
        deadline = math.inf if timeout_s is None else time.monotonic() + timeout_s
        while not self._answers.select(min(POLL_SECONDS, max(deadline - time.monotonic(), 0))):
            if time.monotonic() >= deadline:
                self.kill()
                raise errors.WorkerTimeoutError(
                    f"{self.name} was stopped: it ran past its limit of {timeout_s:g} s",
                    self.log_tail(),
                )
            self._check_memory()
        line = self._process.stdout.readline()
        if not line:
            raise self._crashed(task)
        answer = decode(line, self._folder)
        if "error" in answer:
            raise rebuild(answer["error"])
        return answer["value"]

    def _check_memory(self) -> None:
        if self._memory_limit_bytes is None:
            return
        used = resident_bytes(self.pid)
        if used > self._memory_limit_bytes:
            self.kill()
            raise errors.WorkerOutOfMemoryError(
                f"{self.name} was stopped: it used {used / 2**20:.0f} MiB where"
                f" {self._memory_limit_bytes / 2**20:.0f} MiB are allowed",
                self.log_tail(),
            )

    def _crashed(self, task: str) -> errors.WorkerCrashedError:
        status = self._process.wait()
        how = f"exit status {status}"
        if status < 0:
            how = f"signal {signal.Signals(-status).name}"
            if -status == signal.SIGKILL:
                how += ", often the system out of memory"
        return errors.WorkerCrashedError(
            f"{self.name} died with {how} while it ran {task.rpartition(':')[2]}", self.log_tail()
        )

    def log_tail(self) -> str:
        """Return the end of what the child and the libraries in it printed."""
        self._log.seek(0)
        return self._log.read().decode(errors="replace")[-LOG_TAIL_CHARACTERS:]

    def kill(self) -> None:
        """End the child and everything that it started."""
        with suppress(ProcessLookupError):  # it may have ended on its own already
            if self._process.pid:
                os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()

    def close(self) -> None:
        """End the child and remove its folder.  Safe to call twice."""
        if self._log.closed:
            return
        self.kill()
        self._answers.close()
        self._process.stdout.close()
        with suppress(BrokenPipeError):  # unwritten bytes for a child that is gone
            self._process.stdin.close()
        self._log.close()
        shutil.rmtree(self._folder, ignore_errors=True)

    def __enter__(self) -> Worker:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()


def child_environment(extra: Mapping[str, str]) -> dict[str, str]:
    """Return the parent's variables that a child gets, with this package's path, and ``extra``.

    MLflow sends no usage data from the child, unless the parent's variables say so.
    """
    kept = allowed_variables(os.environ) | {"TMPDIR": str(scratch_root())}
    kept.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    path = kept.get("PYTHONPATH")
    kept["PYTHONPATH"] = os.pathsep.join(filter(None, [str(PACKAGE.parent), path]))
    return kept | dict(extra)


def is_foreign(python: str) -> bool:
    """Return whether ``python`` is the interpreter of another environment than this one."""
    return os.path.abspath(python) != os.path.abspath(sys.executable)


def resident_bytes(pid: int) -> int:
    """Return the resident memory of process ``pid`` in bytes; 0 where /proc is not available."""
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    except (OSError, IndexError, ValueError):
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE")
