"""MLPerf's offline and server scenarios, for models that `rounds` has timed one call at a time.

(Reddi et al., MLPerf Inference Benchmark, ISCA 2020, section IV.)  They are shown beside the paired
ratios and never judged: they measure the machine as much as the model.
"""

from __future__ import annotations

import random
import statistics
import time
from collections import defaultdict
from collections.abc import Callable, Sequence

import numpy as np

from mlflow_onnx_flavor.latency.contestants import Participant, SavedInputs
from mlflow_onnx_flavor.latency.statistics import SEED
from mlflow_onnx_flavor.latency.workloads import PYFUNC, Workload
from mlflow_onnx_flavor.machine.hardware import cores_allowed
from mlflow_onnx_flavor.schemas.configuration import ServerScenario
from mlflow_onnx_flavor.schemas.evidence import OfflineRow, ServerCapacity, ServerRow

OFFLINE_ROUNDS, OFFLINE_BLOCK_MS, OFFLINE_WARMUP_MS = 3, 40.0, 4.0
# Larger batches are left out once the smaller ones took this share of the budget.
OFFLINE_SHARE = 0.2
CALL_LIMIT_S = 120.0
# Halving steps of the search for the highest rate, on a logarithmic scale.
RATE_STEPS = 5
# A run lasts until this many queries came, so that it has a tail, but at most this many times its
# planned time.
FEWEST_QUERIES, MOST_STRETCH = 300, 4
# The lowest rate of the search, as a share of what one thread can answer.
LOWEST_SHARE = 1 / 16


def offline(
    participants: Sequence[Participant],
    batch_sizes: Sequence[int],
    inputs: SavedInputs,
    budget_seconds: float,
) -> tuple[OfflineRow, ...]:
    """Measure rows a second of each contestant at every batch size, in blocks that take turns."""
    begun = time.perf_counter()
    order, rows = random.Random(SEED), []
    for batch_size in sorted(set(batch_sizes)):
        workload = Workload(batch_size, next(iter(inputs)))
        spent = time.perf_counter() - begun > OFFLINE_SHARE * budget_seconds
        times: dict[Participant, list[np.ndarray]] = defaultdict(list)
        for participant in participants if not spent else ():
            participant.meet(workload, CALL_LIMIT_S)
        for _ in range(OFFLINE_ROUNDS if not spent else 0):
            for participant in order.sample(list(participants), len(participants)):
                blocks = participant.run_block(
                    workload, OFFLINE_BLOCK_MS, OFFLINE_WARMUP_MS, CALL_LIMIT_S
                )
                if blocks:
                    times[participant].append(blocks[PYFUNC])
        rows += [_offline_row(each, workload, times[each]) for each in participants]
    return tuple(rows)


def _offline_row(
    participant: Participant, workload: Workload, blocks: Sequence[np.ndarray]
) -> OfflineRow:
    common = {
        "model": participant.entrant.identity.name,
        "execution_provider": participant.entrant.provider,
        "batch_size": workload.batch_size,
    }
    if failure := participant.failure_at(workload):
        status, cause = failure
        return OfflineRow(**common, status=status, cause=cause)
    if not blocks:
        cause = "smaller batches took the time that there is for this: give more budget seconds"
        return OfflineRow(**common, status="skipped", cause=cause)
    rates = [workload.batch_size * len(block) / (block.sum() / 1e9) for block in blocks]
    return OfflineRow(
        **common,
        status="measured",
        rows_per_second=statistics.median(rates),
        spread=(min(rates), max(rates)),
        p50_ms=float(np.median(np.concatenate(blocks))) / 1e6,
    )


def server(
    participants: Sequence[Participant],
    scenario: ServerScenario,
    inputs: SavedInputs,
    note: Callable[[str], None] = lambda _text: None,
) -> tuple[tuple[ServerRow, ...], tuple[ServerCapacity, ...]]:
    """Measure tail latency at the given rates, and the highest rate within a latency budget."""
    rows: list[ServerRow] = []
    capacities = []
    workload = Workload(1, next(iter(inputs)))
    for participant in participants if scenario.rates_per_second or scenario.p99_ms else ():
        name = participant.entrant.identity.name
        note(f"queries that arrive at random, answered by {name}")
        for rate in scenario.rates_per_second:
            rows.append(_served(participant, workload, rate, scenario))
        if scenario.p99_ms is not None:
            tried, highest = _highest_rate(participant, workload, scenario, scenario.p99_ms)
            rows += tried
            capacities.append(
                ServerCapacity(
                    model=name,
                    execution_provider=participant.entrant.provider,
                    p99_budget_ms=scenario.p99_ms,
                    highest_per_second=highest,
                )
            )
    return tuple(rows), tuple(capacities)


def _highest_rate(
    participant: Participant, workload: Workload, scenario: ServerScenario, budget_ms: float
) -> tuple[list[ServerRow], float | None]:
    """Search by halving between a rate that holds and one that does not.

    The search starts from the rate that one thread can answer.
    """
    participant.meet(workload, CALL_LIMIT_S)
    blocks = participant.run_block(workload, OFFLINE_BLOCK_MS, OFFLINE_WARMUP_MS, CALL_LIMIT_S)
    if not blocks:
        return [_served(participant, workload, 1.0, scenario)], None
    one_thread = 1e9 / float(np.median(blocks[PYFUNC]))
    threads = scenario.threads or cores_allowed()
    held, failed = one_thread * LOWEST_SHARE, one_thread * threads
    rows: list[ServerRow] = []
    highest = 0.0
    for _ in range(RATE_STEPS):
        rate = float(np.sqrt(held * failed))
        row = _served(participant, workload, rate, scenario)
        rows.append(row)
        if row.status != "measured":
            return rows, highest or None
        if not row.cut and row.p99_ms <= budget_ms:
            held = highest = rate
        else:
            failed = rate
    return rows, highest


def _served(
    participant: Participant, workload: Workload, rate: float, scenario: ServerScenario
) -> ServerRow:
    """Run arrivals at ``rate`` a second once and return the row."""
    threads = scenario.threads or cores_allowed()
    common = {
        "model": participant.entrant.identity.name,
        "execution_provider": participant.entrant.provider,
        "arrivals_per_second": rate,
        "threads": threads,
    }
    longest = MOST_STRETCH * scenario.seconds
    seconds = min(max(scenario.seconds, FEWEST_QUERIES / rate), longest)
    answers = participant.ask(
        "answer_arrivals",
        workload,
        CALL_LIMIT_S + 4 * seconds,
        rate=rate,
        seconds=seconds,
        threads=threads,
    )
    if failure := participant.failure_at(workload):
        status, cause = failure
        return ServerRow(**common, status=status, cause=cause)
    p50, p90, p99 = np.quantile(answers["latencies_ns"] / 1e6, (0.5, 0.9, 0.99))
    return ServerRow(
        **common,
        status="measured",
        queries=len(answers["latencies_ns"]),
        answered_per_second=len(answers["latencies_ns"]) / answers["seconds"],
        p50_ms=float(p50),
        p90_ms=float(p90),
        p99_ms=float(p99),
        cut=answers["cut"],
    )
