"""Let the participants take turns: short blocks in random order, round after round.

Two models measured one after the other differ by what the machine did in between.  Here every round
holds one block of each, so that a round's ratio compares like with like; only one process works at
a time, and its threads have come to rest before the next one begins.
"""

from __future__ import annotations

import random
import time
from collections import defaultdict
from collections.abc import Callable, Sequence

import numpy as np

from mlflow_onnx_flavor.evidence import Interval
from mlflow_onnx_flavor.latency.participants import Participant
from mlflow_onnx_flavor.latency.statistics import (
    MIN_ROUNDS,
    SEED,
    Precision,
    looks,
    relative_half_width,
    speedup,
)

BLOCK_MS, WARMUP_MS = 20.0, 4.0
MAX_ROUNDS = 2000  # of the fastest models, minutes: in practice the budget ends before
# Slow models: so many rounds, unless they would take this many times the budget.
FEW_ROUNDS, FEW_ROUNDS_BUDGETS = 3, 2.0
# After so many seconds a batch size has had what models usually need: an interval that is fairly
# narrow and decides is enough then, and only another uses the rest of the budget.
USUAL_SECONDS, USUAL_HALF_WIDTH = 8.0, 0.10
# A block is a hang when it takes longer than the largest of: this, twice what is left of the budget
# for its batch size, and this many times what the same block took before.
MIN_BLOCK_LIMIT_S, BLOCK_LIMIT_SHARES, BLOCK_LIMIT_BLOCKS = 10.0, 2.0, 4.0
MIN_MEETING_LIMIT_S = 30.0  # compiling for a new shape takes seconds


class Rounds:
    """The blocks of all participants at every batch size.

    ``times[participant, batch_size]`` has one array of nanoseconds a round; ``seconds`` is what was
    spent in the participants' blocks.
    """

    def __init__(
        self,
        participants: Sequence[Participant],
        batch_sizes: Sequence[int],
        budget_seconds: float,
    ):
        self.times: dict[tuple[Participant, int], list[np.ndarray]] = defaultdict(list)
        self.seconds = 0.0
        self._participants = list(participants)
        self._batch_sizes = list(batch_sizes)
        self._budget_seconds = budget_seconds
        self._order = random.Random(SEED)
        self._begun = 0.0
        self._open_sizes = list(self._batch_sizes)
        self._seconds_at: dict[int, float] = defaultdict(float)
        self._block_seconds: dict[tuple[Participant, int], float] = defaultdict(float)

    def run(
        self,
        confidence: float,
        precision: Precision,
        note: Callable[[str], None] = lambda _text: None,
    ) -> None:
        """Rounds until every ratio to a baseline is precise enough, or the budget is spent.

        A batch size that is precise enough drops out, which leaves its time to the others.
        """
        self._begun = time.perf_counter()
        self._meet()
        upcoming = looks()
        look = next(upcoming)
        cost_s = 0.0  # of the last round
        for number in range(MAX_ROUNDS):
            if self._budget_is_spent(number, cost_s):
                break
            if number == look:
                self._open_sizes = self._imprecise(confidence, precision, note)
                look = next(upcoming)
            if not any(map(self._anything_to_compare, self._open_sizes)):
                break
            cost_s = self._round()

    def ratio(
        self, candidate: Participant, baseline: Participant, batch_size: int, confidence: float
    ) -> Interval | None:
        """The candidate's speed-up; None where too few rounds have both."""
        pairs = list(
            zip(self.times[baseline, batch_size], self.times[candidate, batch_size], strict=False)
        )
        if len(pairs) < MIN_ROUNDS:
            return None
        baseline_ns, candidate_ns = zip(*pairs, strict=True)
        return speedup(baseline_ns, candidate_ns, confidence)

    def _meet(self) -> None:
        for batch_size in self._batch_sizes:
            for participant in self._participants:
                limit_s = max(self._block_limit_s(participant, batch_size), MIN_MEETING_LIMIT_S)
                begun = time.perf_counter()
                participant.meet(batch_size, limit_s)
                self._account(participant, batch_size, time.perf_counter() - begun)

    def _round(self) -> float:
        """One block of each participant at each open size; returns the seconds it took."""
        begun = time.perf_counter()
        for batch_size in self._shuffled(self._open_sizes):
            for participant in self._shuffled(self._participants):
                limit_s = self._block_limit_s(participant, batch_size)
                block_begun = time.perf_counter()
                times = participant.run_block(batch_size, BLOCK_MS, WARMUP_MS, limit_s)
                self._account(participant, batch_size, time.perf_counter() - block_begun)
                if times is not None:
                    self.times[participant, batch_size].append(times)
        return time.perf_counter() - begun

    def _account(self, participant: Participant, batch_size: int, seconds: float) -> None:
        self.seconds += seconds
        self._seconds_at[batch_size] += seconds
        self._block_seconds[participant, batch_size] = seconds
        if not participant.running:  # sizes that are finished keep what was measured
            for each in self._open_sizes:
                participant.failures.setdefault(each, (participant.status, participant.cause))

    def _budget_is_spent(self, rounds: int, cost_s: float) -> bool:
        """Whether one more round of ``cost_s`` seconds is too much after so many."""
        if rounds < MIN_ROUNDS:
            return False
        allowed = FEW_ROUNDS_BUDGETS if rounds < FEW_ROUNDS else 1.0
        return time.perf_counter() - self._begun + cost_s > allowed * self._budget_seconds

    def _block_limit_s(self, participant: Participant, batch_size: int) -> float:
        left_s = self._budget_seconds - (time.perf_counter() - self._begun)
        return max(
            MIN_BLOCK_LIMIT_S,
            BLOCK_LIMIT_SHARES * left_s / len(self._open_sizes),
            BLOCK_LIMIT_BLOCKS * self._block_seconds[participant, batch_size],
        )

    def _shuffled(self, items: Sequence) -> list:
        return self._order.sample(list(items), len(items))

    def _running(self, batch_size: int) -> list[Participant]:
        return [each for each in self._participants if each.runs_at(batch_size)]

    def _anything_to_compare(self, batch_size: int) -> bool:
        running = [bool(each.entrant.baseline) for each in self._running(batch_size)]
        return any(running) and not all(running)

    def _imprecise(
        self,
        confidence: float,
        precision: Precision,
        note: Callable[[str], None],
    ) -> list[int]:
        """Those of the open batch sizes at which some ratio is not precise enough yet."""
        remaining = []
        for batch_size in self._open_sizes:
            ratios = self._ratios(batch_size, confidence)
            widest = max((relative_half_width(each) for _, each in ratios), default=0.0)
            usual = self._seconds_at[batch_size] >= USUAL_SECONDS and widest <= USUAL_HALF_WIDTH
            is_open = any(precision.against(name).is_open(each) for name, each in ratios)
            reached = all(precision.against(name).reached(each) for name, each in ratios)
            if not reached and (is_open or not usual):
                remaining.append(batch_size)
                note(f"batches of {batch_size} need more rounds: ratios known to {widest:.0%}")
        return remaining

    def _ratios(self, batch_size: int, confidence: float) -> list[tuple[str, Interval]]:
        """Each ratio with the baseline that it is to."""
        running = self._running(batch_size)
        ratios = [
            (baseline.entrant.baseline, self.ratio(candidate, baseline, batch_size, confidence))
            for candidate in running
            if not candidate.entrant.baseline
            for baseline in running
            if baseline.entrant.baseline
        ]
        return [(name, each) for name, each in ratios if each is not None]
