"""Start child processes without delay: fork them from one that has imported what they need.

Importing mlflow takes a process about two seconds, and a release needs half a dozen processes.  On
Linux one process imports it and is forked for each of the others.  It holds no model and no thread
of its own, has the environment of a worker (no credentials), and ends by itself when it is idle.

    process = forked(("mlflow.pyfunc",), environment, folder, log)

`server_loop` in `forkserver_child.py` is the other side.
"""

from __future__ import annotations

import json
import os
import select
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

SUPPORTED = sys.platform == "linux"

# Variables that change between calls and that no imported module reads: they do not need a new
# server.
_VOLATILE = frozenset({"PWD", "OLDPWD", "SHLVL", "_", "PYTEST_CURRENT_TEST"})

_lock = threading.Lock()
_servers: dict[str, _Server] = {}


class ForkedProcess:
    """The part of `subprocess.Popen` that `worker.py` uses, for a process forked by the server."""

    def __init__(self, stdin: BinaryIO, stdout: BinaryIO, status: int):
        self.stdin, self.stdout = stdin, stdout
        self.returncode: int | None = None
        self._status, self._said = status, b""

    @property
    def pid(self) -> int:
        """The id of the process, waited for until it exists; 0 once the process has ended.

        The system may give the id to another process after the end.
        """
        while b"\n" not in self._said and self.returncode is None:
            self._read()
        return int(self._said.split(b"\n")[0]) if self.poll() is None else 0

    def poll(self) -> int | None:
        """Return the exit status, negative for a signal; None while the process runs."""
        while self.returncode is None and select.select([self._status], [], [], 0)[0]:
            self._read()
        return self.returncode

    def wait(self) -> int:
        """Wait for the process to end and return its exit status."""
        while self.returncode is None:
            self._read()
        return self.returncode

    def _read(self) -> None:
        """Read the process's id and its exit status, one line each.

        Neither comes where the server has died, and its children with it.
        """
        found = os.read(self._status, 64)
        self._said += found
        lines = self._said.split(b"\n")
        if len(lines) > 2:
            self.returncode = int(lines[1])
        elif not found:
            self.returncode = -9
        if self.returncode is not None:
            os.close(self._status)


class _Server:
    """One process that forks itself; its end of the socket closes when it ends."""

    def __init__(self, modules: Sequence[str], environment: Mapping[str, str]):
        self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self._process = subprocess.Popen(
                [
                    *(
                        sys.executable,
                        "-m",
                        "mlflow_onnx_flavor.processes.forkserver_child",
                    ),
                    *(str(theirs.fileno()), *modules),
                ],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                env=dict(environment),
                start_new_session=True,
            )

    def fork(self, folder: Path, log: BinaryIO, environment: Mapping[str, str]) -> ForkedProcess:
        """Return a process forked from the server.  Raises OSError where the server has ended."""
        volatile = {name: environment[name] for name in _VOLATILE & environment.keys()}
        request = {"folder": str(folder), "directory": os.getcwd(), "environment": volatile}
        given, stdin = os.pipe()
        stdout, answers = os.pipe()
        status, told = os.pipe()
        try:
            socket.send_fds(
                self._socket, [json.dumps(request).encode()], [given, answers, log.fileno(), told]
            )
        except OSError:
            for each in (stdin, stdout, status):
                os.close(each)
            raise
        finally:
            for each in (given, answers, told):
                os.close(each)
        return ForkedProcess(open(stdin, "wb"), open(stdout, "rb"), status)

    def close(self) -> None:
        """Close the socket; the server ends once its children are gone."""
        self._socket.close()
        self._process.poll()


def forked(
    modules: Sequence[str], environment: Mapping[str, str], folder: Path, log: BinaryIO
) -> ForkedProcess:
    """Return a process that runs tasks for `worker.py`, with ``modules`` imported.

    ``environment``: all its variables.  ``folder``: holds the files that are passed to it and
    returned by it.  ``log``: the file that receives its standard error and output.
    """
    key = json.dumps(
        [list(modules), sorted(each for each in environment.items() if each[0] not in _VOLATILE)]
    )
    with _lock:
        if key in _servers:
            with suppress(OSError):  # it was idle, and has ended
                return _servers[key].fork(folder, log, environment)
        for name in list(_servers):
            _servers.pop(name).close()
        _servers[key] = _Server(modules, environment)
        return _servers[key].fork(folder, log, environment)


def _after_fork() -> None:
    """Forget the servers, which belong to the parent; this process starts its own."""
    global _lock
    _lock = threading.Lock()
    for name in list(_servers):
        _servers.pop(name)._socket.close()


if SUPPORTED:
    os.register_at_fork(after_in_child=_after_fork)
