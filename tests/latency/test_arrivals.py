"""Queries that arrive at random: what waits is counted, and what cannot keep up is cut short."""

from __future__ import annotations

import threading
import time

import pytest

from mlflow_onnx_flavor.latency.arrivals import answer_all


def test_all_queries_are_answered_at_the_rate_at_which_they_arrive():
    seen, lock = [], threading.Lock()

    def answer(number):
        with lock:
            seen.append(number)

    found = answer_all(answer, rate=400, seconds=0.5, threads=2, seed=0)
    assert sorted(seen) == list(range(200)) and len(found["latencies_ns"]) == 200
    assert not found["cut"] and 0.2 < found["seconds"] < 2
    assert found["latencies_ns"].min() >= 0


def test_waiting_for_the_query_before_is_part_of_a_query():
    found = answer_all(lambda number: time.sleep(0.02), rate=200, seconds=0.3, threads=1, seed=0)
    # Queries come in 5 ms and take 20, so the last of them waits for most of the others.
    assert found["latencies_ns"].max() > 10 * 0.02e9 or found["cut"]


def test_a_model_that_cannot_keep_up_is_cut_short():
    begun = time.perf_counter()
    found = answer_all(lambda number: time.sleep(0.01), rate=2000, seconds=2, threads=1, seed=0)
    assert found["cut"] and time.perf_counter() - begun < 60
    assert len(found["latencies_ns"]) < 4000


def test_the_error_of_a_model_is_raised():
    def answer(number):
        if number == 5:
            raise ValueError("no such luck")

    with pytest.raises(ValueError, match="no such luck"):
        answer_all(answer, rate=500, seconds=0.2, threads=2, seed=0)
