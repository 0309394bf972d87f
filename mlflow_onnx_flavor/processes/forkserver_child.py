"""The server's side of `forkserver.py`: import modules, fork for each request, report each end.

It stays without threads, since a thread does not survive a fork.
"""

from __future__ import annotations

import gc
import json
import os
import selectors
import signal
import socket
import sys
import warnings
from contextlib import suppress
from pathlib import Path
from typing import Any

from mlflow_onnx_flavor.processes import child
from mlflow_onnx_flavor.processes.confinement import confine_this_process

IDLE_SECONDS = 60.0
PARENT_POLL_SECONDS = 1.0
_MOST_BYTES = 1 << 20  # longest request; it holds the environment's variables
_FILES = 4  # files sent with a request: requests, answers, log, and the pipe for the exit status


def main() -> None:
    """Confine this process, import the modules on the command line and run the server's loop."""
    parent = os.getppid()
    connection = socket.socket(fileno=int(sys.argv[1]))
    confine_this_process()
    for module in sys.argv[2:]:
        child.preload(module)
    gc.freeze()  # imported modules stay shared with the forked processes
    # Python warns of threads that libraries have started; these recover after a fork.
    warnings.filterwarnings("ignore", category=DeprecationWarning)
    server_loop(connection, parent)


def server_loop(connection: socket.socket, parent: int) -> None:
    """Fork for each request until no more can come and no child is left, or ``parent`` is gone.

    No more requests come where the other end of the socket is closed, or after IDLE_SECONDS without
    a request while no child runs.
    """
    children: dict[int, int] = {}
    woken, wake = os.pipe()
    for each in (woken, wake):
        os.set_blocking(each, False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
    with selectors.DefaultSelector() as events:
        events.register(connection, selectors.EVENT_READ)
        events.register(woken, selectors.EVENT_READ)
        listening = True
        while listening or children:
            wait_s = IDLE_SECONDS if listening else PARENT_POLL_SECONDS
            ready = [key.fileobj for key, _ in events.select(wait_s)]
            if not listening and os.getppid() != parent:
                return  # the children end too, since they see that this process is gone
            if woken in ready:
                os.read(woken, 4096)
            _tell_of_ended(children)
            if listening and (connection in ready or not (ready or children)):
                if connection not in ready:
                    # A request that was sent before this line is still read; one sent later
                    # fails, and its sender starts another server.
                    connection.shutdown(socket.SHUT_RD)
                request = socket.recv_fds(connection, _MOST_BYTES, _FILES)
                if request[0]:
                    _fork(connection, request, children, (woken, wake))
                else:
                    listening = False
                    events.unregister(connection)


def _tell_of_ended(children: dict[int, int]) -> None:
    """Report the exit status of children that ended, and kill the processes that they started.

    The processes are killed before the child is waited for, while its id is not yet free for
    another.
    """
    while children:
        ended = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        if ended is None:
            return
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(ended.si_pid, signal.SIGKILL)
        _, status = os.waitpid(ended.si_pid, 0)
        told = children.pop(ended.si_pid, None)
        if told is None:  # a process that an imported module started
            continue
        with suppress(BrokenPipeError):  # nobody waits for it
            os.write(told, f"{os.waitstatus_to_exitcode(status)}\n".encode())
        os.close(told)


def _fork(
    connection: socket.socket,
    request: tuple[Any, ...],
    children: dict[int, int],
    own: tuple[int, ...],
) -> None:
    message, (requests, answers, log, told), *_ = request
    server = os.getpid()
    pid = os.fork()
    if pid:
        children[pid] = told
        for each in (requests, answers, log):
            os.close(each)
        return
    status = 1
    try:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        connection.close()
        for each in (*children.values(), *own):
            os.close(each)
        os.setsid()
        os.write(told, f"{os.getpid()}\n".encode())
        os.close(told)
        _be_worker(json.loads(message), requests, answers, log, server)
        status = 0
    finally:
        os._exit(status)


def _be_worker(asked: dict[str, Any], requests: int, answers: int, log: int, server: int) -> None:
    for given, number in ((requests, 0), (log, 1), (log, 2)):
        os.dup2(given, number)
    os.close(requests)
    os.close(log)
    os.environ.update(asked["environment"])
    os.chdir(asked["directory"])
    with open(answers, "wb") as stream:
        child.serve(Path(asked["folder"]), stream, server)


if __name__ == "__main__":
    main()
