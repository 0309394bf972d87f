"""The side of the server of `forkserver.py`: import, fork for each request, tell how each ends.

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
_MOST_BYTES = 1 << 20  # of a request, which holds the environment's variables
_FILES = 4  # that come with it: requests, answers, log, and where to tell how the process ends


def main() -> None:
    parent = os.getppid()
    connection = socket.socket(fileno=int(sys.argv[1]))
    confine_this_process()
    for module in sys.argv[2:]:
        child.preload(module)
    gc.freeze()  # what is imported stays shared
    # Python warns of threads that libraries have; these mend themselves after a fork.
    warnings.filterwarnings("ignore", category=DeprecationWarning)
    server_loop(connection, parent)


def server_loop(connection: socket.socket, parent: int) -> None:
    """Fork for each request until nobody can ask, or nobody does, and no child is left; or until
    the process ``parent`` is gone.
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
                return  # and the children, which see that this process is gone
            if woken in ready:
                os.read(woken, 4096)
            _tell_of_ended(children)
            if listening and (connection in ready or not (ready or children)):
                if connection not in ready:
                    # What was sent until now is still read; whoever asks later is told to start
                    # another server.
                    connection.shutdown(socket.SHUT_RD)
                request = socket.recv_fds(connection, _MOST_BYTES, _FILES)
                if request[0]:
                    _fork(connection, request, children, (woken, wake))
                else:
                    listening = False
                    events.unregister(connection)


def _tell_of_ended(children: dict[int, int]) -> None:
    """Tell how children ended, and end what they started, while their numbers are still theirs."""
    while children:
        ended = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        if ended is None:
            return
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(ended.si_pid, signal.SIGKILL)
        _, status = os.waitpid(ended.si_pid, 0)
        told = children.pop(ended.si_pid, None)
        if told is None:  # started by what was imported
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
