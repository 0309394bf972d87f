"""Which Python processes the test that runs has started: in whatever way, also a worker.

By wrapped functions and not by an audit hook, which would cost every `id()` of every test.
"""

from __future__ import annotations

import functools
import os
import subprocess
import sys
from collections.abc import Callable
from multiprocessing.process import BaseProcess
from typing import Any

from mlflow_onnx_flavor.processes.worker import Worker

started: list[str] = []


def watch() -> None:
    """Note in `started` every Python process that is started from now on."""
    _wrap(subprocess.Popen, "__init__", _program)
    _wrap(BaseProcess, "start", lambda *_: "a process of multiprocessing")
    _wrap(Worker, "__init__", lambda *_: "a worker")
    _wrap(os, "fork", lambda *_: "a fork of itself")


def _wrap(owner: Any, name: str, describe: Callable[..., str]) -> None:
    original = getattr(owner, name)

    @functools.wraps(original)
    def noting(*arguments, **options):
        description = describe(arguments, options)
        if description:
            started.append(description)
        return original(*arguments, **options)

    setattr(owner, name, noting)


def _program(arguments: tuple, options: dict) -> str:
    """Return the command line where it is a program of this Python's environment, else ""."""
    command = arguments[1] if len(arguments) > 1 else options["args"]
    first = command if isinstance(command, str | bytes | os.PathLike) else command[0]
    program = os.fsdecode(options.get("executable") or first)
    ours = os.path.dirname(program) == os.path.dirname(sys.executable)
    return str(command) if ours else ""
