"""Rounds: the contestants take turns in short blocks, in random order, round after round.

Two models measured one after the other differ by what the machine did in between.  Here every round
holds one block of each, so that a round's ratio compares like with like; only one process works at
a time, and its threads sleep before the next one begins.
"""

from __future__ import annotations

import random
import time
from collections import defaultdict
from collections.abc import Callable, Sequence

import numpy as np

from mlflow_onnx_flavor.latency.contestants import Participant
from mlflow_onnx_flavor.latency.percentiles import percentile_intervals, percentile_ratio
from mlflow_onnx_flavor.latency.statistics import (
    MIN_ROUNDS,
    SEED,
    Precision,
    between_processes,
    looks,
    relative_half_width,
    speedup,
)
from mlflow_onnx_flavor.latency.workloads import PYFUNC, Workload
from mlflow_onnx_flavor.schemas.evidence import Interval

BLOCK_MS, WARMUP_MS = 20.0, 4.0
MAX_ROUNDS = 2000  # minutes, for the fastest models: in practice the budget ends first
# Slow models get this many rounds, unless these would take this many times the budget.
FEW_ROUNDS, FEW_ROUNDS_BUDGETS = 3, 2.0
# After this many seconds a batch size has had what models usually need: an interval that is fairly
# narrow and decides is enough then; only one that does not decide uses the rest of the budget.
USUAL_SECONDS, USUAL_HALF_WIDTH = 8.0, 0.10
# A block counts as hanging when it takes longer than the largest of: this, twice what is left of
# the budget for its batch size, and this many times what the same block took before.
MIN_BLOCK_LIMIT_S, BLOCK_LIMIT_SHARES, BLOCK_LIMIT_BLOCKS = 10.0, 2.0, 4.0
MIN_MEETING_LIMIT_S = 30.0  # compiling for a new shape takes seconds


class Rounds:
    """The blocks of all contestants at every workload.

    ``times[participant, workload, path]`` has one array of nanoseconds for each round; ``seconds``
    is the time spent in the contestants' blocks.
    """

    def __init__(
        self,
        participants: Sequence[Participant],
        workloads: Sequence[Workload],
        budget_seconds: float,
    ):
        self.times: dict[tuple[Participant, Workload, str], list[np.ndarray]] = defaultdict(list)
        self.seconds = 0.0
        self._participants = list(participants)
        self._workloads = list(workloads)
        self._budget_seconds = budget_seconds
        self._order = random.Random(SEED)
        self._begun = 0.0
        self._open = list(self._workloads)
        self._seconds_at: dict[Workload, float] = defaultdict(float)
        self._block_seconds: dict[tuple[Participant, Workload], float] = defaultdict(float)

    def run(
        self,
        confidence: float,
        precision: Precision,
        note: Callable[[str], None] = lambda _text: None,
    ) -> None:
        """Run rounds until every ratio to a baseline is precise enough, or the budget is spent.

        A workload that is precise enough drops out, which leaves its time to the others.
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
                self._open = self._imprecise(confidence, precision, note)
                look = next(upcoming)
            if not any(map(self._anything_to_compare, self._open)):
                break
            cost_s = self._round()

    def pairs(
        self, candidate: Participant, baseline: Participant, workload: Workload, path: str = PYFUNC
    ) -> tuple[list[np.ndarray], list[np.ndarray]]:
        """Return times of the baseline and of the candidate's ``path`` in rounds that have both."""
        both = zip(
            self.times[baseline, workload, PYFUNC],
            self.times[candidate, workload, path],
            strict=False,
        )
        pairs = list(both)
        return [one for one, _ in pairs], [other for _, other in pairs]

    def ratio(
        self,
        candidate: Participant,
        baseline: Participant,
        workload: Workload,
        confidence: float,
        path: str = PYFUNC,
    ) -> Interval | None:
        """Return the candidate's speed-up; None if too few rounds have both models."""
        times = self.pairs(candidate, baseline, workload, path)
        if len(times[0]) < MIN_ROUNDS:
            return None
        return between_processes(speedup(*times, confidence))

    def _meet(self) -> None:
        for meet in (Participant.meet, Participant.meet_session):
            for workload in self._workloads:
                for participant in self._participants:
                    limit_s = max(self._block_limit_s(participant, workload), MIN_MEETING_LIMIT_S)
                    begun = time.perf_counter()
                    meet(participant, workload, limit_s)
                    self._account(participant, workload, time.perf_counter() - begun)

    def _round(self) -> float:
        """Run one block of each contestant at each open workload; return the seconds it took."""
        begun = time.perf_counter()
        for workload in self._shuffled(self._open):
            for participant in self._shuffled(self._participants):
                limit_s = self._block_limit_s(participant, workload)
                block_begun = time.perf_counter()
                blocks = participant.run_block(workload, BLOCK_MS, WARMUP_MS, limit_s)
                self._account(participant, workload, time.perf_counter() - block_begun)
                for path, times in (blocks or {}).items():
                    self.times[participant, workload, path].append(times)
        return time.perf_counter() - begun

    def _account(self, participant: Participant, workload: Workload, seconds: float) -> None:
        self.seconds += seconds
        self._seconds_at[workload] += seconds
        self._block_seconds[participant, workload] = seconds
        if not participant.running:  # finished workloads keep what was measured
            for each in self._open:
                participant.failures.setdefault(each, (participant.status, participant.cause))

    def _budget_is_spent(self, rounds: int, cost_s: float) -> bool:
        """Return whether one more round of ``cost_s`` seconds is too much after ``rounds``."""
        if rounds < MIN_ROUNDS:
            return False
        allowed = FEW_ROUNDS_BUDGETS if rounds < FEW_ROUNDS else 1.0
        return time.perf_counter() - self._begun + cost_s > allowed * self._budget_seconds

    def _block_limit_s(self, participant: Participant, workload: Workload) -> float:
        left_s = self._budget_seconds - (time.perf_counter() - self._begun)
        return max(
            MIN_BLOCK_LIMIT_S,
            BLOCK_LIMIT_SHARES * left_s / len(self._open),
            BLOCK_LIMIT_BLOCKS * self._block_seconds[participant, workload],
        )

    def _shuffled(self, items: Sequence) -> list:
        return self._order.sample(list(items), len(items))

    def _running(self, workload: Workload) -> list[Participant]:
        return [each for each in self._participants if each.runs_at(workload)]

    def _anything_to_compare(self, workload: Workload) -> bool:
        running = [bool(each.entrant.baseline) for each in self._running(workload)]
        return any(running) and not all(running)

    def _imprecise(
        self,
        confidence: float,
        precision: Precision,
        note: Callable[[str], None],
    ) -> list[Workload]:
        """Return the open workloads at which some ratio is not precise enough yet."""
        remaining = []
        for workload in self._open:
            ratios = self._ratios(workload, confidence)
            widest = max((relative_half_width(each) for _, _, each in ratios), default=0.0)
            usual = self._seconds_at[workload] >= USUAL_SECONDS and widest <= USUAL_HALF_WIDTH
            is_open = any(
                precision.against(baseline.entrant.baseline).is_open(each)
                for _, baseline, each in ratios
            ) or self._tails_are_open(workload, confidence, precision)
            reached = not is_open and all(
                precision.against(baseline.entrant.baseline).reached(each)
                for _, baseline, each in ratios
            )
            if not reached and (is_open or not usual):
                remaining.append(workload)
                note(f"batches of {workload} need more rounds: ratios known to {widest:.0%}")
        return remaining

    def _tails_are_open(self, workload: Workload, confidence: float, precision: Precision) -> bool:
        """Return whether a percentile that a gate judges is still too uncertain to decide."""
        for candidate, baseline in self._compared(workload):
            for least in precision.decisive_tail_of.get(baseline.entrant.baseline, ()):
                times = self.pairs(candidate, baseline, workload)
                if precision.spans(percentile_ratio(*times, 99, confidence), least):
                    return True
            blocks = self.times[candidate, workload, PYFUNC]
            found = percentile_intervals(blocks, tuple(precision.budgets_ms), confidence)
            budgets = precision.budgets_ms.items()
            if any(precision.spans(found.get(percent), budget) for percent, budget in budgets):
                return True
        return False

    def _compared(self, workload: Workload) -> list[tuple[Participant, Participant]]:
        """Return each candidate with each baseline that a gate may compare it with."""
        running = self._running(workload)
        return [
            (candidate, baseline)
            for candidate in running
            if not candidate.entrant.baseline and candidate.entrant.threads is None
            for baseline in running
            if baseline.entrant.baseline
        ]

    def _ratios(
        self, workload: Workload, confidence: float
    ) -> list[tuple[Participant, Participant, Interval]]:
        ratios = []
        for candidate, baseline in self._compared(workload):
            ratio = self.ratio(candidate, baseline, workload, confidence)
            if ratio is not None:
                ratios.append((candidate, baseline, ratio))
        return ratios
