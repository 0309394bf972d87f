"""Models in processes that were forked, and what onnxruntime does there of itself."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import subprocess
import sys

import numpy as np
import pytest
from onnx import helper

from mlflow_onnx_flavor import scoring
from tests.onnx_graphs import save, tensor

pytestmark = pytest.mark.process


def wide(path):
    """A product that onnxruntime shares among its threads."""
    weights = np.ones((256, 256), np.float32)
    return save(
        [helper.make_node("MatMul", ["x", "w"], ["y"])],
        [tensor("x", ["rows", 256])],
        [tensor("y", ["rows", 256])],
        path,
        [helper.make_tensor("w", 1, weights.shape, weights.tobytes(), raw=True)],
    )


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_model_that_was_loaded_before_a_fork_answers_after_it(tmp_path):
    options = {"session_options": {"intra_op_num_threads": 2}}
    session = scoring.load_session(str(wide(tmp_path / "m.onnx")), options)
    rows = np.ones((512, 256), np.float32)
    expected = session.predict(rows)["y"]
    context = multiprocessing.get_context("fork")
    answers = context.Queue()
    child = context.Process(
        target=lambda: answers.put(bool((session.predict(rows)["y"] == expected).all()))
    )
    child.start()
    try:
        assert answers.get(timeout=60)
    finally:
        child.kill()
        child.join()
    assert (session.predict(rows)["y"] == expected).all()


LOADED_AND_FORKED = """
import os, sys
from mlflow_onnx_flavor import scoring
session = scoring.load_session(sys.argv[1])
child = os.fork()
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) if child else 3)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_process_that_was_forked_ends_as_others_do(tmp_path):
    """Onnxruntime's sender of usage data, where it runs, keeps it for ever."""
    command = [sys.executable, "-c", LOADED_AND_FORKED, str(wide(tmp_path / "m.onnx"))]
    with subprocess.Popen(command, start_new_session=True) as process:
        try:
            assert process.wait(timeout=60) == 3
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)


@pytest.mark.parametrize(("given", "found"), [(None, "1"), ("0", "0")])
def test_onnxruntime_sends_no_usage_data_unless_the_user_wants_it(given, found):
    environment = {**os.environ, "ORT_DISABLE_TELEMETRY": given or ""}
    if given is None:
        del environment["ORT_DISABLE_TELEMETRY"]
    code = "import os, mlflow_onnx_flavor; print(os.environ['ORT_DISABLE_TELEMETRY'])"
    told = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True)
    assert told.stdout.decode().strip() == found
