"""The server scenario inside a contestant's process: queries arrive at random times."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable
from typing import Any

import numpy as np

# A run is cut short when this share of its queries waits at once: the model cannot keep up, and
# the queue only grows.
MOST_WAITING_SHARE = 0.25


def answer_all(
    answer: Callable[[int], Any], rate: float, seconds: float, threads: int, seed: int
) -> dict[str, Any]:
    """Answer queries that arrive at random, ``rate`` a second on average, with ``threads`` threads.

    ``answer(number)`` answers a query.  Gaps between arrivals are exponential, drawn beforehand;
    the latency of a query counts from its arrival, not from when a thread was free for it.
    Returns ``latencies_ns``, shape (queries,), in no order; ``seconds`` until the last answer;
    ``cut``: whether the run was cut short, which leaves the queries that waited then unanswered.
    Raises what ``answer`` raises.
    """
    generator = np.random.default_rng(seed)
    gaps_ns = generator.exponential(1e9 / rate, max(int(rate * seconds), 1))
    arrivals_ns = np.cumsum(gaps_ns).astype(np.int64)
    waiting: queue.SimpleQueue[int | None] = queue.SimpleQueue()
    latencies_ns: list[int] = []
    errors: list[Exception] = []
    begun_ns = time.perf_counter_ns()

    over = threading.Event()

    def work() -> None:
        while (number := waiting.get()) is not None and not over.is_set():
            try:
                answer(number)
            except Exception as error:  # raised again in the caller's thread
                errors.append(error)
                over.set()
            else:
                now_ns = time.perf_counter_ns() - begun_ns
                latencies_ns.append(now_ns - int(arrivals_ns[number]))

    workers = [threading.Thread(target=work, daemon=True) for _ in range(threads)]
    for worker in workers:
        worker.start()
    cut = False
    most_waiting = max(int(MOST_WAITING_SHARE * len(arrivals_ns)), threads)
    for number, at_ns in enumerate(arrivals_ns):
        wait_s = (at_ns - (time.perf_counter_ns() - begun_ns)) / 1e9
        if wait_s > 0:
            time.sleep(wait_s)
        cut = waiting.qsize() > most_waiting
        if cut:
            over.set()
        if over.is_set():
            break
        waiting.put(number)
    for _ in workers:
        waiting.put(None)
    for worker in workers:
        worker.join()
    if errors:
        raise errors[0]
    return {
        "latencies_ns": np.array(latencies_ns, dtype=np.int64),
        "seconds": (time.perf_counter_ns() - begun_ns) / 1e9,
        "cut": cut,
    }
