"""Successive halving on paired rounds: find the fastest of many session settings.

All settings and the default are timed in rounds; after each rung the slower half drops out, which
leaves its time to the others (Jamieson and Talwalkar, Non-stochastic Best Arm Identification and
Hyperparameter Optimization, AISTATS 2016).  The setting that is left won partly by luck, so it is
timed against the default again in rounds of their own, and only these are evidence.
"""

from __future__ import annotations

import math
import random
import time
from collections import defaultdict
from collections.abc import Callable, Hashable, Mapping, Sequence

import numpy as np

from mlflow_onnx_flavor.latency.statistics import SEED, ratio_of_logs
from mlflow_onnx_flavor.schemas.evidence import Interval

# The share of the time that the final duel of the best setting with the default gets.
DUEL_SHARE = 0.4
FEWEST_RUNG_ROUNDS, FEWEST_DUEL_ROUNDS = 2, 8

# Times one setting in one block at every workload and returns nanoseconds of a call by workload;
# None if the setting fails.
Block = Callable[[int], Mapping[Hashable, float] | None]


class Halving:
    """A contest of session settings with the default.

    ``settings``: the number of settings beside the default, which has number 0.  ``logs[number]``:
    for each round of a setting, the logarithm of the default's time over its own, averaged over the
    workloads; ``rung[number]``: the last rung in which it was timed.
    """

    def __init__(self, settings: int, block: Block, seconds: float):
        self.logs: dict[int, list[float]] = defaultdict(list)
        self.rung: dict[int, int] = {}
        self.failed: set[int] = set()
        self._block = block
        self._seconds = seconds
        self._numbers = list(range(1, settings + 1))
        self._order = random.Random(SEED)

    def best(self, confidence: float) -> tuple[int, dict[Hashable, Interval]] | None:
        """Return the best setting's number and its speed-ups over the default; None if all fail.

        The speed-ups are those of the duel, by workload; their average stands under None.
        """
        rungs = max(math.ceil(math.log2(max(len(self._numbers), 1))), 1)
        share_s = self._seconds * (1 - DUEL_SHARE) / rungs
        alive = list(self._numbers)
        for rung in range(rungs):
            alive = self._rung(rung, alive, share_s)
            if len(alive) <= 1:
                break
        return (alive[0], self._duel(alive[0], confidence)) if alive else None

    def _rung(self, rung: int, alive: Sequence[int], share_s: float) -> list[int]:
        """Return the faster half of the settings that do not fail."""
        for number in alive:
            self.rung[number] = rung
        begun, rounds = time.perf_counter(), 0
        while rounds < FEWEST_RUNG_ROUNDS or time.perf_counter() - begun < share_s:
            for number, by_workload in self._round(alive).items():
                self.logs[number].append(float(np.mean(list(by_workload.values()))))
            rounds += 1
        left = [number for number in alive if number not in self.failed]
        left.sort(key=lambda number: -np.median(self.logs[number]))
        return left[: math.ceil(len(left) / 2)]

    def _duel(self, number: int, confidence: float) -> dict[Hashable, Interval]:
        begun, rounds = time.perf_counter(), 0
        seen: dict[Hashable, list[float]] = defaultdict(list)
        while rounds < FEWEST_DUEL_ROUNDS or (
            time.perf_counter() - begun < self._seconds * DUEL_SHARE
        ):
            for by_workload in self._round([number]).values():
                for workload, log in by_workload.items():
                    seen[workload].append(log)
            rounds += 1
        if not seen:  # the setting failed meanwhile
            return {}
        seen[None] = list(np.mean(list(seen.values()), axis=0))
        return {each: ratio_of_logs(np.array(logs), confidence) for each, logs in seen.items()}

    def _round(self, alive: Sequence[int]) -> dict[int, dict[Hashable, float]]:
        """Run one block of the default and of each setting, in random order; return log ratios."""
        taking_part = [0, *(number for number in alive if number not in self.failed)]
        times = {}
        for number in self._order.sample(taking_part, len(taking_part)):
            times[number] = self._block(number)
            if times[number] is None:
                self.failed.add(number)
        default = times[0]
        if default is None:
            return {}
        return {
            number: {each: math.log(default[each] / of_setting[each]) for each in default}
            for number, of_setting in times.items()
            if number and of_setting is not None
        }
