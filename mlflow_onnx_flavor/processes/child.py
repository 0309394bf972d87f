"""The child's side of `worker.py`: read requests, run their tasks and write the answers.

The pipe that was standard output carries answers only; whatever frameworks print goes to the log.
"""

from __future__ import annotations

import importlib
import os
import sys
import threading
import time
import traceback
from pathlib import Path
from typing import Any, BinaryIO

from mlflow_onnx_flavor.processes.confinement import confine_this_process
from mlflow_onnx_flavor.processes.raised import describe
from mlflow_onnx_flavor.processes.serialization import decode, encode

PARENT_POLL_SECONDS = 1.0


def main() -> None:
    """Confine this process, import the modules that are asked for and serve requests."""
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    confine_this_process()
    for module in sys.argv[2:]:
        preload(module)
    serve(Path(sys.argv[1]), answers, os.getppid())


def serve(folder: Path, answers: BinaryIO, parent: int) -> None:
    """Answer requests from standard input until it ends or the process ``parent`` is gone."""
    threading.Thread(target=_end_with_parent, args=(parent,), daemon=True).start()
    for count, line in enumerate(iter(sys.stdin.buffer.readline, b"")):
        answer = _answer(decode(line, folder))
        answers.write(_encoded(answer, folder, f"a{count}") + b"\n")
        answers.flush()


def preload(module: str) -> None:
    """Import ``module``; where that fails, the task that needs it will report the error."""
    try:
        importlib.import_module(module)
    except Exception:  # the task that needs it fails with the same error and reports it
        traceback.print_exc()


def _answer(request: dict[str, Any]) -> dict[str, Any]:
    try:
        return {"value": _task(request["task"])(**request["arguments"])}
    except Exception as error:  # every error of a task is an answer: the parent raises it again
        return {"error": describe(error)}


def _encoded(answer: dict[str, Any], folder: Path, stem: str) -> bytes:
    try:
        return encode(answer, folder, stem)
    except TypeError as error:
        return encode({"error": describe(error)}, folder, stem)


def _task(name: str) -> Any:
    module, _, function = name.partition(":")
    if not module.startswith("mlflow_onnx_flavor.") or function.startswith("_"):
        raise ValueError(f"{name!r} is not a task of this package")
    return getattr(importlib.import_module(module), function)


def _end_with_parent(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(PARENT_POLL_SECONDS)
    os._exit(1)


if __name__ == "__main__":
    main()
