"""Workers that are forked from one process: apart from each other, and gone in the end."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from mlflow_onnx_flavor.processes import forkserver, forkserver_child
from mlflow_onnx_flavor.processes.worker import Worker

pytestmark = [
    pytest.mark.process,
    pytest.mark.skipif(not forkserver.SUPPORTED, reason="it forks on Linux only"),
]

MODULES = ("mlflow_onnx_flavor.gates",)
BOUND = "mlflow_onnx_flavor.gates:upper_bound"
ARGUMENTS = {"disagreements": 0, "rows": 1, "confidence": 0.95}
# A program that has a worker which is busy for ever, says both numbers, and dies in the middle.
LEAVES_A_CHILD = """
import os, signal, threading
from mlflow_onnx_flavor.processes import forkserver
from mlflow_onnx_flavor.processes.worker import Worker

worker = Worker(preload=("mlflow_onnx_flavor.gates",))
(server,) = forkserver._servers.values()
print(worker.pid, server._process.pid, flush=True)
threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGKILL)).start()
worker.call("mlflow_onnx_flavor.processes.child:main")
"""
# One that is the server of a process that ends and leaves behind what it started.
ENDS_WITH_A_CHILD = """
import os, subprocess
from mlflow_onnx_flavor.processes import forkserver_child

command = ["sh", "-c", "sleep 600 >/dev/null & echo $!; exit 3"]
process = subprocess.Popen(command, stdout=subprocess.PIPE, start_new_session=True)
status, told = os.pipe()
children = {process.pid: told}
while children:
    forkserver_child._tell_of_ended(children)
print(process.stdout.readline().decode().strip(), os.read(status, 9).decode())
"""


def parent_of(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def is_there(pid: int) -> bool:
    """Return whether a thread of the process runs; its files are open until the last has ended.

    A process that has ended and is not yet waited for is not there.
    """
    return any(state not in ("", "Z", "X") for state in map(state_of, threads_of(pid)))


def threads_of(pid: int) -> list[Path]:
    try:
        return list(Path(f"/proc/{pid}/task").iterdir())
    except FileNotFoundError:
        return []


def state_of(thread: Path) -> str:
    try:
        return (thread / "stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return ""


def eventually(holds: Callable[[], bool], seconds: float = 30) -> bool:
    end = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > end:
            return False
        time.sleep(0.05)
    return True


def test_workers_are_processes_of_one_server_and_die_alone():
    with Worker(preload=MODULES) as one, Worker(preload=MODULES) as other:
        assert one.pid != other.pid and parent_of(one.pid) == parent_of(other.pid) != os.getpid()
        first = one.pid
        one.kill()
        assert not one.alive and one.pid == 0 and not is_there(first)
        assert other.call(BOUND, ARGUMENTS) == pytest.approx(0.95)


def test_a_worker_is_where_its_parent_is_and_sees_no_secret(tmp_path, monkeypatch):
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "x")
    monkeypatch.chdir(tmp_path)
    with Worker(preload=MODULES) as worker:
        worker.call(BOUND, ARGUMENTS)
        assert Path(f"/proc/{worker.pid}/cwd").resolve() == tmp_path.resolve()
        seen = Path(f"/proc/{worker.pid}/environ").read_bytes()
        assert b"AWS_SECRET" not in seen and b"PYTHONPATH=" in seen
        assert os.getsid(worker.pid) == worker.pid


def test_another_environment_is_another_server(monkeypatch):
    with Worker(preload=MODULES) as before:
        monkeypatch.setenv("OMP_NUM_THREADS", "1")
        with Worker(preload=MODULES) as after:
            assert parent_of(before.pid) != parent_of(after.pid)
            assert b"OMP_NUM_THREADS=1" in Path(f"/proc/{after.pid}/environ").read_bytes()
            assert before.call(BOUND, ARGUMENTS) == after.call(BOUND, ARGUMENTS)


def test_what_a_worker_started_ends_with_it():
    done = subprocess.run(
        [sys.executable, "-c", ENDS_WITH_A_CHILD], capture_output=True, text=True, timeout=60
    )
    started, status = done.stdout.split()
    assert status == "3" and eventually(lambda: not is_there(int(started)))


def test_a_server_that_has_ended_is_started_again():
    with Worker(preload=MODULES) as worker:
        worker.call(BOUND, ARGUMENTS)
        server = parent_of(worker.pid)
    os.kill(server, signal.SIGKILL)
    assert eventually(lambda: not is_there(server))
    with Worker(preload=MODULES) as worker:
        assert worker.call(BOUND, ARGUMENTS) == pytest.approx(0.95)
        assert parent_of(worker.pid) != server


def test_a_worker_whose_server_is_killed_ends_and_is_a_crash():
    with Worker(preload=MODULES) as worker:
        worker.call(BOUND, ARGUMENTS)
        pid = worker.pid
        os.kill(parent_of(pid), signal.SIGKILL)
        assert eventually(lambda: not is_there(pid))
        assert eventually(lambda: not worker.alive)


def test_nothing_is_left_of_a_program_that_was_killed():
    program = subprocess.run(
        [sys.executable, "-c", LEAVES_A_CHILD], capture_output=True, text=True, timeout=120
    )
    assert program.returncode == -signal.SIGKILL, program.stderr
    left = [int(each) for each in program.stdout.split()]
    assert len(left) == 2
    assert eventually(lambda: not any(is_there(each) for each in left))


def test_an_idle_server_ends_by_itself(monkeypatch):
    monkeypatch.setattr(forkserver_child, "IDLE_SECONDS", 0.1)
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, theirs:
        before = signal.getsignal(signal.SIGCHLD)
        try:
            forkserver_child.server_loop(theirs, os.getppid())
        finally:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, before)
        with pytest.raises(OSError):
            ours.send(b"{}")
