"""System load during a latency measurement, read from Linux's /proc."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from mlflow_onnx_flavor.machine.hardware import lines_of, throttled_microseconds
from mlflow_onnx_flavor.schemas.evidence import Surroundings

_PROC = Path("/proc")
_TICKS = os.sysconf("SC_CLK_TCK")
# Columns of the first line of /proc/stat: user nice system idle iowait irq softirq steal ...
_IDLE, _STEAL = (3, 4), 7


@dataclass(frozen=True)
class _Reading:
    """Seconds since the machine or the processes started; None if they are not reported."""

    at: float
    all_cores: float | None = None
    busy: float | None = None
    steal: float | None = None
    own: Mapping[int, float] = field(default_factory=dict)  # by process
    waiting: float | None = None
    throttled: float | None = None


class Watch:
    """A context manager that reads the system's counters when it is entered and left.

    ``own_pids``: the processes that are measured, beside this one; they still run at the end.
    """

    def __init__(self, own_pids: Callable[[], Sequence[int]], proc: Path = _PROC):
        self._own_pids = own_pids
        self._proc = proc

    def __enter__(self) -> Watch:
        self._before = self._read()
        return self

    def __exit__(self, *_exc) -> None:
        self._after = self._read()
        self._load: float | None = None
        with suppress(OSError):
            self._load = os.getloadavg()[0]

    def surroundings(self, medians: Sequence[Sequence[float]] = ()) -> Surroundings:
        """Return the system load; ``medians``: the source's medians of each round, by workload."""
        before, after = self._before, self._after
        seconds = after.at - before.at

        def share(name: str, of: float | None) -> float | None:
            first, last = getattr(before, name), getattr(after, name)
            if first is None or last is None or not of:
                return None
            return min(max((last - first) / of, 0.0), 1.0)

        cores = None
        if before.all_cores is not None and after.all_cores is not None:
            cores = after.all_cores - before.all_cores
        busy = share("busy", cores)
        # A process that ended meanwhile counts as foreign load: its processor time is unknown.
        own = sum(after.own[pid] - before.own.get(pid, after.own[pid]) for pid in after.own)
        return Surroundings(
            seconds=seconds,
            load_average=self._load,
            others_share=None if busy is None or not cores else max(busy - own / cores, 0.0),
            steal_share=share("steal", cores),
            throttled_share=share("throttled", seconds),
            waiting_share=share("waiting", seconds),
            source_spread=_spread(medians),
        )

    def _read(self) -> _Reading:
        cpu = next((line.split()[1:] for line in lines_of(self._proc / "stat")), None)
        found: dict[str, Any] = {}
        if cpu and len(cpu) > _STEAL:
            ticks = [int(each) for each in cpu[: _STEAL + 1]]
            idle = sum(ticks[at] for at in _IDLE)
            found = {
                "all_cores": sum(ticks) / _TICKS,
                "busy": (sum(ticks) - idle - ticks[_STEAL]) / _TICKS,
                "steal": ticks[_STEAL] / _TICKS,
                "own": {pid: self._seconds_of(pid) for pid in [os.getpid(), *self._own_pids()]},
            }
        throttled = throttled_microseconds()
        return _Reading(
            at=time.perf_counter(),
            waiting=self._waiting(),
            throttled=None if throttled is None else throttled / 1e6,
            **found,
        )

    def _seconds_of(self, pid: int) -> float:
        """Return processor time of all threads of a process; 0 if the process is gone."""
        text = "".join(lines_of(self._proc / str(pid) / "stat"))
        fields = text.rpartition(")")[2].split()
        return sum(map(int, fields[11:13])) / _TICKS

    def _waiting(self) -> float | None:
        """Return the seconds in which some task waited for a core (pressure stall information)."""
        for line in lines_of(self._proc / "pressure" / "cpu"):
            total = line.rpartition("total=")[2]
            if line.startswith("some ") and total.isdigit():
                return int(total) / 1e6
        return None


def _spread(medians: Sequence[Sequence[float]]) -> float | None:
    """Return a round's typical distance from the middle one: the largest over the workloads."""
    found = []
    for of_rounds in medians:
        if len(of_rounds) > 2:
            middle = float(np.median(of_rounds))
            found.append(float(np.median(np.abs(np.array(of_rounds) - middle))) / middle)
    return max(found, default=None)
