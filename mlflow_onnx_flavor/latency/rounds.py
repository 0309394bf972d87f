"""Let the participants take turns: short blocks in random order, round after round.

Two models measured one after the other differ by what the machine did in between.  Here every round
holds one block of each, so that a round's ratio compares like with like; only one process works at
a time, and the threads of the others have gone to rest.
"""

from __future__ import annotations

import random
import time
from collections import defaultdict
from collections.abc import Sequence

import numpy as np

from mlflow_onnx_flavor.latency.participants import Participant
from mlflow_onnx_flavor.latency.statistics import SEED, relative_half_width, speedup

BLOCK_SECONDS = 0.02
MIN_CALLS, MAX_CALLS = 2, 500
WARMUP_CALLS = 2
MIN_ROUNDS, MAX_ROUNDS = 12, 200
ENOUGH_HALF_WIDTH = 0.03
# After this long an interval that is fairly narrow is enough; only a wide one uses the budget.
GOOD_HALF_WIDTH, GOOD_SECONDS = 0.10, 4.0
# A block that takes this many times its share of the budget is a hang.
HANG_FACTOR = 10.0

Times = dict[tuple[str, str], list[np.ndarray]]


class Rounds:
    """The blocks of all participants at one batch size; ``times[key]`` has one array a round."""

    def __init__(self, participants: Sequence[Participant], batch_size: int, budget_seconds: float):
        self.batch_size = batch_size
        self.times: Times = defaultdict(list)
        self.seconds = 0.0
        self._participants = list(participants)
        self._budget_seconds = budget_seconds
        self._order = random.Random(SEED + batch_size)
        self._calls: dict[tuple[str, str], int] = {}

    def run(self, baselines: Sequence[tuple[str, str]], confidence: float) -> None:
        """Rounds until every ratio to a baseline is narrow, or the budget is spent.

        At least `MIN_ROUNDS` where the budget allows; two in any case.
        """
        begun = time.perf_counter()
        self._calibrate()
        for number in range(MAX_ROUNDS):
            self.seconds = time.perf_counter() - begun
            if number >= 2 and self.seconds > self._budget_seconds:
                break
            if number >= MIN_ROUNDS and self._enough(baselines, confidence):
                break
            self._round()
        self.seconds = time.perf_counter() - begun

    def _calibrate(self) -> None:
        """Calls a block, from one block that is thrown away."""
        for participant in self._participants:
            times = self._block(participant, calls=1)
            if times is not None and times[0] * 20 < BLOCK_SECONDS * 1e9:
                times = self._block(participant, calls=10)
            if times is not None:
                wanted = int(BLOCK_SECONDS * 1e9 / np.median(times))
                self._calls[participant.entrant.key] = min(max(wanted, MIN_CALLS), MAX_CALLS)

    def _round(self) -> None:
        order = list(self._participants)
        self._order.shuffle(order)
        blocks = {
            each.entrant.key: self._block(each, self._calls[each.entrant.key])
            for each in order
            if each.entrant.key in self._calls
        }
        for key, times in blocks.items():
            if times is not None:
                self.times[key].append(times)

    def _block(self, participant: Participant, calls: int) -> np.ndarray | None:
        limit = max(30.0, self._budget_seconds * HANG_FACTOR)
        return participant.run_block(self.batch_size, calls, WARMUP_CALLS, limit)

    def _enough(self, baselines: Sequence[tuple[str, str]], confidence: float) -> bool:
        widths = [
            relative_half_width(speedup(self.times[baseline], times, confidence))
            for baseline in baselines
            for key, times in self.times.items()
            if key != baseline and len(times) == len(self.times[baseline])
        ]
        widest = max(widths, default=0.0)
        return widest <= ENOUGH_HALF_WIDTH or (
            widest <= GOOD_HALF_WIDTH and self.seconds > GOOD_SECONDS
        )
