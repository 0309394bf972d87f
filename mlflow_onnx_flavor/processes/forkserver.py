"""Child processes that are there at once: forked from one that has imported what they need.

To import mlflow takes a process some two seconds; a release needs half a dozen of them.  On Linux
one process imports it, and is forked for each of the others.  It holds no model and no thread of
its own, has the environment of a worker (no credentials), and ends by itself when it is idle.

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

# They change from one call to the next and nothing that is imported reads them.
_VOLATILE = frozenset({"PWD", "OLDPWD", "SHLVL", "_", "PYTEST_CURRENT_TEST"})

_lock = threading.Lock()
_servers: dict[str, _Server] = {}


class ForkedProcess:
    """What `worker.py` uses of `subprocess.Popen`, for a process that the server forked."""

    def __init__(self, stdin: BinaryIO, stdout: BinaryIO, status: int):
        self.stdin, self.stdout = stdin, stdout
        self.returncode: int | None = None
        self._status, self._said = status, b""

    @property
    def pid(self) -> int:
        """Waits until the process is there; 0 once it has ended, since it may be another's then."""
        while b"\n" not in self._said and self.returncode is None:
            self._read()
        return int(self._said.split(b"\n")[0]) if self.poll() is None else 0

    def poll(self) -> int | None:
        """The exit status, negative for a signal; None while it runs."""
        while self.returncode is None and select.select([self._status], [], [], 0)[0]:
            self._read()
        return self.returncode

    def wait(self) -> int:
        """The exit status, once it has one."""
        while self.returncode is None:
            self._read()
        return self.returncode

    def _read(self) -> None:
        """Two lines come: the process's id and its exit status; neither, where the server died and
        its children with it.
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
        """Raises OSError where the server has ended."""
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
        """The server ends when nobody can ask it any more and its children are gone."""
        self._socket.close()
        self._process.poll()


def forked(
    modules: Sequence[str], environment: Mapping[str, str], folder: Path, log: BinaryIO
) -> ForkedProcess:
    """A process that runs tasks for `worker.py`, with ``modules`` imported.

    ``environment``: all its variables.  ``folder``: what it is given and gives.  ``log``: where
    its standard error and output go.
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
    """The servers are the parent's: this process starts its own."""
    global _lock
    _lock = threading.Lock()
    for name in list(_servers):
        _servers.pop(name)._socket.close()


if SUPPORTED:
    os.register_at_fork(after_in_child=_after_fork)
