"""A child process: what crosses its boundary, and what its failures become."""

from __future__ import annotations

import os
import signal
import threading
import time

import numpy as np
import pandas as pd
import pytest

from mlflow_onnx_flavor import errors
from mlflow_onnx_flavor.candidates import base as candidate_errors
from mlflow_onnx_flavor.processes.raised import describe, rebuild
from mlflow_onnx_flavor.processes.serialization import decode, encode
from mlflow_onnx_flavor.processes.worker import Worker, child_environment

pytestmark = pytest.mark.process

BOUND = "mlflow_onnx_flavor.gates:upper_bound"
NEVER_ENDING = (
    "mlflow_onnx_flavor.processes.child:main"  # waits for a standard input that stays open
)


# Started anew, and forked from a process that has imported what is asked for.
HOW = {"started": (), "forked": ("mlflow_onnx_flavor.gates",)}
both_ways = pytest.mark.parametrize("preload", HOW.values(), ids=HOW)


@pytest.fixture(scope="module", params=HOW.values(), ids=HOW)
def worker(request):
    with Worker(preload=request.param) as worker:
        yield worker


@pytest.mark.parametrize(
    "value",
    [
        None,
        {"a": [1, 2.5, "x", None, True]},
        {"nan": float("inf")},
    ],
)
def test_plain_values_cross_unchanged(value, tmp_path):
    assert decode(encode(value, tmp_path, "t"), tmp_path) == value


def test_nan_crosses_as_nan(tmp_path):
    assert np.isnan(decode(encode(float("nan"), tmp_path, "t"), tmp_path))


@pytest.mark.parametrize("dtype", ["float32", "float64", "int64", "bool", "<U5", "float16"])
def test_arrays_keep_dtype_and_shape(dtype, tmp_path):
    array = np.arange(6).reshape(2, 3).astype(dtype)
    back = decode(encode({"x": array}, tmp_path, "t"), tmp_path)["x"]
    assert back.dtype == array.dtype
    np.testing.assert_array_equal(back, array)


def test_object_arrays_cross_without_pickle(tmp_path):
    array = np.array([["a", None], ["ü", 3.5]], dtype=object)
    back = decode(encode(array, tmp_path, "t"), tmp_path)
    assert back.dtype == object and back.tolist() == array.tolist()


@pytest.mark.parametrize("last", ["", "nul\0", "\ud800"])
def test_arrays_of_texts_cross_whatever_they_say(last, tmp_path):
    array = np.array([["a", "ü"], ["007", last]], dtype=object)
    back = decode(encode({"x": array}, tmp_path, "t"), tmp_path)["x"]
    assert back.dtype == object and back.tolist() == array.tolist()
    assert list(tmp_path.iterdir()) == []


def test_frames_keep_dtypes_and_index(tmp_path):
    frame = pd.DataFrame({"a": [1, 2], "b": ["x", None]}, index=[7, 9])
    pd.testing.assert_frame_equal(decode(encode(frame, tmp_path, "t"), tmp_path), frame)


def test_files_of_an_exchange_are_gone_once_read(tmp_path):
    decode(encode(np.zeros(3), tmp_path, "t"), tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_what_cannot_cross_is_refused_by_its_type(tmp_path):
    with pytest.raises(TypeError, match="a Lock cannot cross|a lock cannot cross"):
        encode({"x": threading.Lock()}, tmp_path, "t")


def test_an_answer_comes_back(worker):
    arguments = {"disagreements": 0, "rows": 2995, "confidence": 0.95}
    assert worker.call(BOUND, arguments) == pytest.approx(0.001, rel=1e-3)


def test_our_errors_keep_their_class_and_sentence(worker):
    with pytest.raises(errors.ConfigurationError, match="must be a mapping of keys, not list"):
        worker.call("mlflow_onnx_flavor.configuration_file:parse_configuration", {"values": [1]})


def test_our_errors_arrive_with_the_child_s_traceback(worker):
    with pytest.raises(errors.ConfigurationError) as caught:
        worker.call("mlflow_onnx_flavor.configuration_file:parse_configuration", {"values": [1]})
    assert "in parse_configuration" in str(caught.value.__cause__)


def test_an_error_keeps_its_class_wherever_that_is_defined_and_its_remedy(tmp_path):
    refused = candidate_errors.CandidateError("nothing to do", remedy="leave it out")
    arrived = rebuild(decode(encode(describe(refused), tmp_path, "t"), tmp_path))
    assert type(arrived) is candidate_errors.CandidateError
    assert (arrived.cause, arrived.remedy) == ("nothing to do", "leave it out")
    assert str(arrived) == "nothing to do; leave it out"


def test_an_error_of_a_child_of_a_child_keeps_the_log(tmp_path):
    crashed = errors.WorkerCrashedError("died", "what it printed", remedy="look there")
    arrived = rebuild(decode(encode(describe(crashed), tmp_path, "t"), tmp_path))
    assert type(arrived) is errors.WorkerCrashedError
    assert (arrived.log, arrived.remedy) == ("what it printed", "look there")


def test_a_child_cannot_choose_a_class_that_is_none_of_our_errors():
    made = {"class": "builtins:SystemExit", "type": "SystemExit", "message": "0", "traceback": "-"}
    assert type(rebuild(made)) is errors.WorkerTaskError


def test_other_errors_carry_their_traceback(worker):
    with pytest.raises(errors.WorkerTaskError, match="TypeError") as caught:
        worker.call(BOUND, {"disagreements": 0, "rows": "many", "confidence": 0.95})
    assert "Traceback" in caught.value.log


@pytest.mark.parametrize("task", ["os:getcwd", "mlflow_onnx_flavor.gates:_fastest"])
def test_only_public_functions_of_this_package_are_tasks(worker, task):
    with pytest.raises(errors.WorkerTaskError, match="is not a task of this package"):
        worker.call(task)


@both_ways
def test_a_killed_child_is_a_crash_with_its_signal(preload):
    with Worker(name="victim", preload=preload) as worker:
        worker.call(BOUND, {"disagreements": 0, "rows": 1, "confidence": 0.95})
        threading.Timer(0.3, os.kill, (worker.pid, signal.SIGSEGV)).start()
        with pytest.raises(errors.WorkerCrashedError, match="victim died with signal SIGSEGV"):
            worker.call(NEVER_ENDING)


@both_ways
def test_a_child_past_its_time_is_stopped(preload):
    with Worker(preload=preload) as worker:
        with pytest.raises(errors.WorkerTimeoutError, match=r"its limit of 0\.5 s"):
            worker.call(NEVER_ENDING, timeout_s=0.5)
        assert not worker.alive


@both_ways
def test_a_child_past_its_memory_is_stopped(preload):
    with Worker(memory_limit_bytes=2**20, preload=preload) as worker:
        with pytest.raises(errors.WorkerOutOfMemoryError):
            worker.call(NEVER_ENDING)
        assert not worker.alive


def test_mlflow_sends_no_usage_data_from_a_child_unless_the_user_lets_it(monkeypatch):
    monkeypatch.delenv("MLFLOW_DISABLE_TELEMETRY", raising=False)
    assert child_environment({})["MLFLOW_DISABLE_TELEMETRY"] == "true"
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "false")
    assert child_environment({})["MLFLOW_DISABLE_TELEMETRY"] == "false"


@both_ways
def test_closing_removes_the_process_and_its_folder(preload):
    worker = Worker(preload=preload)
    folder = worker._folder
    worker.close()
    worker.close()
    assert not worker.alive and not folder.exists()


def test_a_child_ends_with_its_parent():
    parent = os.fork()
    if parent == 0:  # a parent that starts a worker and dies without closing it
        worker = Worker()
        worker.call(BOUND, {"disagreements": 0, "rows": 1, "confidence": 0.95})
        os.write(_PIPE[1], str(worker.pid).encode())
        os._exit(0)
    os.waitpid(parent, 0)
    orphan = int(os.read(_PIPE[0], 20))
    deadline = time.monotonic() + 20
    while _runs(orphan) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not _runs(orphan)


_PIPE = os.pipe()


def _runs(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat") as status:
            return status.read().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False
