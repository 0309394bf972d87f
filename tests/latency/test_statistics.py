"""Figures and intervals on times whose truth is known."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from mlflow_onnx_flavor.latency.statistics import (
    Precision,
    figures,
    looks,
    relative_half_width,
    speedup,
)
from mlflow_onnx_flavor.schemas.configuration import LatencyGate
from mlflow_onnx_flavor.schemas.evidence import Interval

CALLS = 15
TRUE_RATIO = 1.7


def blocks(generator, rounds, median_ns, noise):
    """Call times of ``rounds`` blocks: a drift that both sides share is added by `simulated`."""
    jitter = generator.gamma(2.0, 0.02, (rounds, CALLS))  # calls are late, seldom early
    return median_ns * np.exp(noise(generator, rounds)[:, None] + jitter)


def even(generator, rounds):
    return generator.normal(0, 0.02, rounds)


def heavy_tailed(generator, rounds):
    return 0.02 * generator.standard_t(2, rounds)


def with_neighbour(generator, rounds):
    """One block in five shares its core with somebody else."""
    return generator.normal(0, 0.01, rounds) + (
        (generator.random(rounds) < 0.2) * generator.exponential(0.4, rounds)
    )


def persistent(generator, rounds):
    """A disturbance that is still half there in the next round."""
    noise = generator.normal(0, 0.02, rounds)
    for number in range(1, rounds):
        noise[number] += 0.5 * noise[number - 1]
    return noise


def simulated(generator, rounds, noise):
    """Baseline and candidate of known ratio under a clock that wanders by half."""
    drift = np.exp(np.cumsum(generator.normal(0, 0.1, rounds)))[:, None]
    baseline = drift * blocks(generator, rounds, TRUE_RATIO * 1e6, noise)
    candidate = drift * blocks(generator, rounds, 1e6, noise)
    return list(baseline), list(candidate)


def covers(interval):
    return interval.low <= TRUE_RATIO <= interval.high


def interval(estimate, half_width):
    return Interval(
        estimate=estimate,
        low=estimate * (1 - half_width),
        high=estimate * (1 + half_width),
        confidence=0.95,
    )


def test_figures_are_the_quantiles_of_the_calls():
    of_101 = figures(np.arange(101) * 1_000_000, batch_size=4)
    assert (of_101.calls, of_101.p50_ms, of_101.p90_ms, of_101.p99_ms) == (101, 50, 90, 99)
    assert of_101.histogram_ms == pytest.approx(range(101))
    assert of_101.throughput_rows_per_second == pytest.approx(4 * 101 / 5.05)


def test_what_a_round_shares_cancels_in_its_ratio():
    drift = [1.0, 3.0, 0.2, 7.0, 1.5, 2.0, 9.0]
    candidate = [np.array([10.0, 11.0, 12.0]) * each for each in drift]
    ratio = speedup([2 * each for each in candidate], candidate, 0.95)
    assert (ratio.estimate, ratio.low, ratio.high) == pytest.approx((2, 2, 2))


def test_the_same_times_give_the_same_interval():
    baseline, candidate = simulated(np.random.default_rng(3), 9, even)
    assert speedup(baseline, candidate, 0.9) == speedup(baseline, candidate, 0.9)


def test_more_confidence_is_a_wider_interval():
    baseline, candidate = simulated(np.random.default_rng(4), 20, even)
    widths = [
        relative_half_width(speedup(baseline, candidate, confidence))
        for confidence in (0.8, 0.95, 0.99)
    ]
    assert widths == sorted(widths) and widths[0] < widths[2]


def test_one_round_has_no_interval():
    with pytest.raises(ValueError, match="needs 2 rounds, not 1"):
        speedup([np.array([1.0])], [np.array([1.0])], 0.95)


@pytest.mark.parametrize("noise", [even, heavy_tailed, with_neighbour])
@pytest.mark.parametrize("rounds", [8, 24])
def test_intervals_cover_the_true_ratio_as_often_as_they_claim(rounds, noise):
    generator = np.random.default_rng(5)
    covering = sum(covers(speedup(*simulated(generator, rounds, noise), 0.95)) for _ in range(300))
    assert covering >= 0.93 * 300  # of 285 expected, two standard errors are 8


@pytest.mark.parametrize("rounds", [24, 68])
def test_intervals_are_honest_where_a_disturbance_lasts_for_rounds(rounds):
    generator = np.random.default_rng(9)
    covering = sum(
        covers(speedup(*simulated(generator, rounds, persistent), 0.95)) for _ in range(200)
    )
    assert covering >= 0.90 * 200  # as if rounds were independent it would be 0.8


@pytest.mark.parametrize("rounds", [2, 3, 5])
def test_intervals_of_few_rounds_are_honest(rounds):
    generator = np.random.default_rng(6)
    covering = sum(covers(speedup(*simulated(generator, rounds, even), 0.95)) for _ in range(300))
    assert covering >= 0.93 * 300


def test_a_narrower_confidence_covers_as_often_as_it_claims_too():
    generator = np.random.default_rng(7)
    covering = sum(covers(speedup(*simulated(generator, 16, even), 0.8)) for _ in range(300))
    assert 0.76 * 300 <= covering <= 0.90 * 300


@pytest.mark.parametrize("noise", [even, heavy_tailed, with_neighbour])
def test_stopping_when_it_is_precise_keeps_most_of_the_coverage(noise):
    """To stop at a narrow interval is to prefer narrow intervals: what is lost is bounded."""
    generator = np.random.default_rng(8)
    precision = Precision(half_width=0.012)
    covering = 0
    for _ in range(200):
        baseline, candidate = simulated(generator, 200, noise)
        for rounds in looks():
            ratio = speedup(baseline[:rounds], candidate[:rounds], 0.95)
            if precision.reached(ratio) or rounds >= 200:
                break
        covering += covers(ratio)
    assert covering >= 0.91 * 200


def test_a_narrow_interval_is_precise_enough_anywhere():
    assert Precision().reached(interval(1.0, 0.029))
    assert not Precision().reached(interval(1.0, 0.04))


def test_a_fairly_narrow_interval_is_enough_far_from_where_one_decides():
    assert Precision().reached(interval(5.0, 0.09))
    assert not Precision().reached(interval(5.0, 0.09).model_copy(update={"high": 7.0}))
    assert not Precision(decisive=(1.0, 4.5)).reached(interval(5.0, 0.09))
    assert not Precision().reached(interval(1.2, 0.09))


def test_looks_are_few():
    upcoming = looks()
    rounds = [next(upcoming) for _ in range(12)]
    assert all(after >= 1.2 * before for before, after in itertools.pairwise(rounds))


def test_an_interval_that_leaves_a_gate_open_is_not_enough_unless_it_is_very_narrow():
    gate = LatencyGate(min_speedup=1.5, max_regression=0.05)
    source, champion = (Precision.for_gate(gate).against(each) for each in ("source", "champion"))
    assert not source.reached(interval(1.5, 0.029))  # enough where no gate asks
    assert source.reached(interval(1.5, 0.009))
    assert source.reached(interval(1.0, 0.029))
    assert champion.reached(interval(1.0, 0.029))  # clear of 0.95
    assert not champion.reached(interval(0.96, 0.029))
