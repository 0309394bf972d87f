"""Seconds that the models themselves took, apart from everything around them."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager


class Stopwatch:
    """Adds up ``seconds`` over every ``running()`` block."""

    def __init__(self) -> None:
        self.seconds = 0.0

    @contextmanager
    def running(self) -> Iterator[None]:
        begun_ns = time.perf_counter_ns()
        try:
            yield
        finally:
            self.seconds += (time.perf_counter_ns() - begun_ns) / 1e9
