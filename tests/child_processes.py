"""Find the worker processes of this package that a test started, and end one as the system would.

Linux only: it reads /proc.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path

TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")


def workers() -> set[int]:
    """The process ids of all workers of this process, those that its servers forked too."""
    parents, servers, started = {}, set(), set()
    for folder in Path("/proc").glob("[0-9]*"):
        pid = int(folder.name)
        try:
            parents[pid] = int(_stat(pid)[1])
            command = (folder / "cmdline").read_bytes()
        except OSError:  # it ended meanwhile
            continue
        if parents[pid] == os.getpid() and b"mlflow_onnx_flavor.processes.child" in command:
            started.add(pid)
        if (
            parents[pid] == os.getpid()
            and b"mlflow_onnx_flavor.processes.forkserver_child" in command
        ):
            servers.add(pid)
    return started | {pid for pid, parent in parents.items() if parent in servers}


def kill_at_work(pid: int, cpu_seconds: float) -> threading.Thread:
    """Kill the process once it has computed for so long from now on.

    Processor time and not the clock: a busy machine delays the kill as it delays the work.
    """
    end = _cpu_seconds(pid) + cpu_seconds

    def kill() -> None:
        _until(lambda: _cpu_seconds(pid) >= end)
        _kill(pid)

    return _in_background(kill)


def _kill(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)


def _in_background(work: Callable[[], None]) -> threading.Thread:
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    return thread


def _until(condition):
    while not (found := condition()):
        time.sleep(0.02)
    return found


def _cpu_seconds(pid: int) -> float:
    user, system = _stat(pid)[11:13]
    return (int(user) + int(system)) / TICKS_PER_SECOND


def _stat(pid: int) -> list[str]:
    """The fields of /proc/pid/stat from the third on; the second may hold spaces."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
