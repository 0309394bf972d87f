"""Counters and times of the answers that a model gave in one process."""

from __future__ import annotations

import threading
from collections import Counter, deque

import numpy as np

# Number of times kept between two readings, the newest; percentiles need no more.
MOST_TIMES = 4096
REQUESTS, ROWS, REJECTED, FAILED = "requests", "rows", "rejected", "failed"


class Counters:
    """Totals since the process began, and times since they were last read.  Thread-safe."""

    def __init__(self):
        self._lock = threading.Lock()
        self._totals: Counter[str] = Counter({REQUESTS: 0, ROWS: 0, REJECTED: 0, FAILED: 0})
        self._times: deque[int] = deque(maxlen=MOST_TIMES)

    def answered(self, rows: int, provider: str, nanoseconds: int) -> None:
        """Count an answer for ``rows`` rows by ``provider``, and record its time."""
        with self._lock:
            self._totals[REQUESTS] += 1
            self._totals[ROWS] += rows
            self._totals[f"{REQUESTS}/{provider}"] += 1
            self._times.append(nanoseconds)

    def unanswered(self, reason: str) -> None:
        """Count a request that ended in an error.

        ``reason``: REJECTED where its input was at fault, otherwise FAILED.
        """
        with self._lock:
            self._totals[REQUESTS] += 1
            self._totals[reason] += 1

    def read(self) -> dict[str, float]:
        """Return totals by name, and percentiles in ms of the answers since the last reading."""
        with self._lock:
            found = {name: float(total) for name, total in self._totals.items()}
            times = list(self._times)
            self._times.clear()
        if times:
            values = np.quantile(times, (0.5, 0.95, 1.0)) / 1e6
            names = ("latency_ms_p50", "latency_ms_p95", "latency_ms_max")
            found |= dict(zip(names, values.tolist(), strict=True))
        return found
