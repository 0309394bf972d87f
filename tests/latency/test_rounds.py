"""When rounds end, what a failure costs, and how long a block may take: on a simulated clock."""

from __future__ import annotations

import pytest

from mlflow_onnx_flavor import errors
from mlflow_onnx_flavor.latency import rounds as rounds_module
from mlflow_onnx_flavor.latency.rounds import Rounds
from mlflow_onnx_flavor.latency.statistics import Precision
from mlflow_onnx_flavor.latency.workloads import PYFUNC, Workload
from mlflow_onnx_flavor.schemas.configuration import LatencyGate
from tests.latency.simulated import Clock, SimulatedWorker, participant

PRECISION = Precision()
ONE, MANY = Workload(1), Workload(32)


@pytest.fixture
def clock(monkeypatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(rounds_module, "time", clock)
    return clock


def run(clock, source_seconds, candidate_seconds, budget_seconds, noise=0.02, **candidate):
    sizes = [Workload(size) for size in source_seconds]
    source = participant(SimulatedWorker(clock, source_seconds, noise, seed=1), "source")
    worker = SimulatedWorker(clock, candidate_seconds, noise, seed=2, **candidate)
    made = Rounds([source, participant(worker)], sizes, budget_seconds)
    made.run(0.95, PRECISION)
    return made, *made._participants


def test_narrow_intervals_end_it_long_before_the_budget(clock):
    made, source, candidate = run(clock, {1: 0.001}, {1: 0.0005}, 300)
    assert clock.seconds < 2
    assert made.ratio(candidate, source, ONE, 0.95).estimate == pytest.approx(2, rel=0.05)


def test_fairly_narrow_intervals_end_it_after_the_usual_seconds(clock):
    made, _source, _candidate = run(clock, {1: 0.001}, {1: 0.001}, 300, noise=0.25)
    assert 8 <= clock.seconds < 8 * 1.4 + 1


def test_wide_intervals_use_the_budget(clock):
    run(clock, {1: 0.001}, {1: 0.001}, 30, noise=2.0)
    assert 29 < clock.seconds <= 30


def test_a_slow_source_stays_near_its_budget(clock):
    made, source, candidate = run(clock, {1: 2.0, 32: 2.0}, {1: 0.002, 32: 0.002}, 20)
    assert clock.seconds < 30
    assert len(made.times[source, ONE, PYFUNC]) >= 3
    assert made.ratio(candidate, source, MANY, 0.95) is not None


def test_a_budget_too_small_still_gives_an_interval(clock):
    made, source, candidate = run(clock, {1: 2.0}, {1: 0.002}, 0.1)
    assert len(made.times[source, ONE, PYFUNC]) == 2
    assert made.ratio(candidate, source, ONE, 0.95) is not None


def test_seconds_are_those_in_blocks(clock):
    made, *_ = run(clock, {1: 0.001}, {1: 0.001}, 5)
    assert made.seconds == pytest.approx(clock.seconds)


def test_a_block_may_take_twice_what_is_left_but_not_ten_times(clock):
    _made, source, _candidate = run(clock, {1: 0.001}, {1: 0.001}, 60, noise=2.0)
    limits = source._worker.limits_s
    assert max(limits) <= 120 and min(limits) == pytest.approx(10)


def test_an_error_at_one_batch_size_leaves_the_other(clock):
    def fail(task, batch_size, _number):
        if batch_size == 32 and task == "run_block":
            raise errors.WorkerTaskError("ValueError: too many rows")

    same = {1: 0.001, 32: 0.001}
    made, source, candidate = run(clock, same, same, 5, fail=fail)
    assert candidate.failures == {MANY: ("failed", "ValueError: too many rows")}
    assert len(made.times[candidate, ONE, PYFUNC]) == len(made.times[source, ONE, PYFUNC]) >= 8
    assert candidate.load_row().figures.load_seconds == 1.0


def test_a_crash_keeps_what_was_finished(clock):
    """Batch size 1 is steady and precise early; 32 is not, and crashes in its 40th round."""

    def fail(task, batch_size, number):
        if task == "run_block" and batch_size == 32 and number > 60:
            raise errors.WorkerCrashedError("converted died with signal SIGSEGV")

    source = participant(SimulatedWorker(clock, {1: 0.001, 32: 0.001}, 0.0), "source")
    worker = SimulatedWorker(clock, {1: 0.001, 32: 0.001}, 0.0, fail=fail)
    steady_block = worker._block

    def block(batch_size, *arguments):
        worker.noise = 1.0 if batch_size == 32 else 0.0
        return steady_block(batch_size, *arguments)

    worker._block = block
    candidate = participant(worker)
    made = Rounds([source, candidate], [ONE, MANY], 60)
    made.run(0.95, PRECISION)
    assert candidate.status == "crashed" and set(candidate.failures) == {MANY}
    assert made.ratio(candidate, source, ONE, 0.95) is not None
    load = candidate.load_row()
    assert load.figures.load_seconds == 1.0 and load.figures.peak_memory_bytes == 1_000_000


def test_without_a_baseline_nothing_is_measured(clock):
    def fail(*_):
        raise errors.WorkerCrashedError("the source died")

    source = participant(SimulatedWorker(clock, {1: 1.0}, fail=fail), "source")
    candidate = participant(SimulatedWorker(clock, {1: 1.0}))
    made = Rounds([source, candidate], [ONE], 300)
    made.run(0.95, PRECISION)
    assert made.times == {} and clock.seconds == 1.0


def test_an_open_gate_uses_the_budget_where_a_clear_one_does_not(clock):
    def seconds(least):
        clock.seconds = 0.0
        gate = LatencyGate(min_speedup=least)
        source = participant(SimulatedWorker(clock, {1: 0.001}, 0.2, seed=1), "source")
        candidate = participant(SimulatedWorker(clock, {1: 0.001}, 0.2, seed=2))
        Rounds([source, candidate], [ONE], 40.0).run(0.95, Precision.for_gate(gate))
        return clock.seconds

    assert seconds(1.0) > 2 * seconds(0.5)
