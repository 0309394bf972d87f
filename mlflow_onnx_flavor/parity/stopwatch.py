"""A stopwatch for the seconds that the models themselves take, without the work around them."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager


class Stopwatch:
    """A sum of ``seconds`` over every ``running()`` block."""

    def __init__(self) -> None:
        self.seconds = 0.0

    @contextmanager
    def running(self) -> Iterator[None]:
        """Add the time of the block to ``seconds``, even if the block raises."""
        begun_ns = time.perf_counter_ns()
        try:
            yield
        finally:
            self.seconds += (time.perf_counter_ns() - begun_ns) / 1e9
