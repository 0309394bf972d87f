"""What a block of calls holds when some calls are slow for reasons that are not the model's."""

from __future__ import annotations

import time

import numpy as np
import pytest

from mlflow_onnx_flavor.latency import tasks
from mlflow_onnx_flavor.latency.workloads import PYFUNC, Workload

ONE = Workload(1)
FAST_NS, SLOW_NS = 50_000, 16_000_000


@pytest.fixture
def opened(monkeypatch):
    """Opens a model of which some calls are slow, on a clock of its own."""

    def make(is_slow):
        now = [0]
        made = tasks.Opened({PYFUNC: lambda data: answer()}, {}, batches={(PYFUNC, ONE): [None]})

        def answer():
            now[0] += SLOW_NS if is_slow(made.calls) else FAST_NS
            return np.zeros(1)

        monkeypatch.setattr(time, "perf_counter_ns", lambda: now[0])
        monkeypatch.setitem(tasks._state, "opened", made)
        tasks.meet_workload(ONE.as_arguments())
        return made

    return make


def blocks(number):
    return [tasks.run_block(ONE.as_arguments(), 20.0, 4.0)[PYFUNC] for _ in range(number)]


def test_a_few_slow_calls_at_the_start_do_not_become_the_median(opened):
    opened(lambda calls: calls % 490 < 4)  # a block: 80 to warm up, then 400 counted
    for times in blocks(5):
        assert np.median(times) == FAST_NS
        assert len(times) >= 350


def test_where_every_call_becomes_slow_the_block_ends(opened):
    opened(lambda calls: calls > 480)
    first, second = blocks(2)
    assert np.median(first) == FAST_NS
    assert np.median(second) == SLOW_NS
    assert second.sum() <= 1.1 * tasks.MAX_STRETCH * 20e6


def test_fast_calls_are_as_many_as_fill_the_time(opened):
    opened(lambda calls: False)
    assert [len(times) for times in blocks(2)] == [400, 400]
