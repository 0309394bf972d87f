"""The tests' own tools: a test that is marked `unit` is one, and what is shared is made once."""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys

import pytest

from mlflow_onnx_flavor.processes.worker import Worker
from tests.made_once import made_once
from tests.started_processes import started


def forked() -> None:
    pid = os.fork()
    if not pid:
        os._exit(0)
    os.waitpid(pid, 0)


def of_multiprocessing() -> None:
    process = multiprocessing.get_context("spawn").Process(target=print)
    process.start()
    process.join()


WAYS = {
    "subprocess": lambda: subprocess.run([sys.executable, "-c", "pass"], check=True),
    "multiprocessing": of_multiprocessing,
    "fork": forked,
    "worker": lambda: Worker().close(),
}


@pytest.mark.process
@pytest.mark.parametrize("way", WAYS)
def test_a_process_is_noted_however_it_is_started(way):
    assert started == []
    WAYS[way]()
    assert started


def test_other_programs_are_not():
    subprocess.run(["true"], check=True)
    assert started == []


def test_what_is_shared_is_made_once_and_anew_where_that_failed(tmp_path):
    calls = []

    def make(folder):
        calls.append(folder)
        (folder / "file").write_text("made")
        if len(calls) == 1:
            raise OSError("no room")

    with pytest.raises(OSError, match="no room"):
        made_once(tmp_path / "shared", make)
    for _ in range(2):
        assert (made_once(tmp_path / "shared", make) / "file").read_text() == "made"
    assert len(calls) == 2
