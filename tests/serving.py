"""A real `mlflow models serve` process on loopback, and one request to it."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

from examples.shared_server.start import answers, free_port

BIN = Path(sys.executable).parent


def environment(**extra: str) -> dict[str, str]:
    """Return this environment's commands on the PATH; no way to this project's source.

    An MLflow server starts without the eight processes that run its jobs.
    """
    variables = {
        **os.environ,
        "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}",
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        **extra,
    }
    variables.pop("PYTHONPATH", None)
    return variables


@contextlib.contextmanager
def running(command: list[str], url: str, log: Path, limit_s: float, **options) -> Iterator[str]:
    """Start ``command``, wait until ``url`` answers, and end it with all its children."""
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, stdout=output, stderr=output, start_new_session=True, **options
        )
        try:
            deadline = time.monotonic() + limit_s
            while not answers(url):
                assert process.poll() is None, log.read_text()[-3000:]
                assert time.monotonic() < deadline, log.read_text()[-3000:]
                time.sleep(0.2)
            yield url
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


@contextlib.contextmanager
def tracking_server(folder: Path, store: str) -> Iterator[str]:
    """`mlflow server` of ``store``, its artifacts and its log in ``folder``; yields the URL."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    command = [
        *(str(BIN / "mlflow"), "server", "--host", "127.0.0.1", "--port", str(port)),
        *("--backend-store-uri", store, "--workers", "1"),
        *("--artifacts-destination", str(folder / "artifacts")),
    ]
    with running(command, f"{url}/health", folder / "server.log", 120, env=environment()):
        yield url


@contextlib.contextmanager
def served(model: Path, env_manager: str, log: Path, cwd: Path, **extra: str) -> Iterator[str]:
    """`mlflow models serve` of ``model``; yields the base URL."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    command = [
        *(str(BIN / "mlflow"), "models", "serve", "-m", str(model), "--port", str(port)),
        *("--host", "127.0.0.1", "--env-manager", env_manager),
    ]
    options = {"cwd": cwd, "env": environment(**extra)}
    with running(command, f"{url}/ping", log, 180, **options):
        yield url


def score(url: str, payload: dict) -> dict:
    """The answer of ``/invocations``."""
    request = urllib.request.Request(
        f"{url}/invocations",
        json.dumps(payload).encode(),
        {"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=60) as answer:
        return json.load(answer)
