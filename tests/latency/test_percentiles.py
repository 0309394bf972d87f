"""Percentiles and their ratios on times whose truth is known."""

from __future__ import annotations

import numpy as np
import pytest

from mlflow_onnx_flavor.latency.percentiles import percentile_intervals, percentile_ratio

TRUE_RATIO = 1.7
# Of calls that are a gamma late, in units of their median.
LATE = 0.03


def simulated(generator, rounds, calls, median_ns, drift):
    noise = generator.normal(0, 0.02, rounds)[:, None]
    late = generator.gamma(2.0, LATE, (rounds, calls))
    return list(drift[:, None] * median_ns * np.exp(noise + late))


def pair(generator, rounds=40, calls=60):
    """Baseline and candidate under a clock that wanders, which both see."""
    drift = np.exp(np.cumsum(generator.normal(0, 0.1, rounds)))
    return (
        simulated(generator, rounds, calls, TRUE_RATIO * 1e6, drift),
        simulated(generator, rounds, calls, 1e6, drift),
    )


@pytest.mark.parametrize("percent", [50, 90, 99])
def test_ratios_of_percentiles_cover_the_truth_as_often_as_they_claim(percent):
    generator = np.random.default_rng(1)
    ratios = [percentile_ratio(*pair(generator), percent, 0.95) for _ in range(150)]
    covering = sum(each.low <= TRUE_RATIO <= each.high for each in ratios)
    assert covering >= 0.92 * 150
    assert np.median([each.high / each.low for each in ratios]) < 1.1


def test_percentiles_cover_the_truth_as_often_as_they_claim():
    generator = np.random.default_rng(2)
    steady = np.ones(40)
    truth = np.percentile(np.concatenate(simulated(generator, 4000, 60, 1e6, np.ones(4000))), 99)
    found = [
        percentile_intervals(simulated(generator, 40, 60, 1e6, steady), (99,), 0.95)[99]
        for _ in range(150)
    ]
    assert sum(each.low <= truth / 1e6 <= each.high for each in found) >= 0.92 * 150


def test_what_all_calls_share_cancels():
    baseline, candidate = pair(np.random.default_rng(3))
    slow = [3.0 if number == 7 else 1.0 for number in range(len(baseline))]
    times = [
        [each * factor for each, factor in zip(blocks, slow, strict=True)]
        for blocks in (baseline, candidate)
    ]
    once, again = (percentile_ratio(*each, 99, 0.95) for each in ((baseline, candidate), times))
    assert (once.estimate, once.low, once.high) == pytest.approx(
        (again.estimate, again.low, again.high), rel=0.01
    )


def test_a_tail_that_one_round_makes_is_no_evidence():
    generator = np.random.default_rng(4)
    steady = [generator.normal(1e6, 1e3, 50) for _ in range(30)]
    blocks = [*steady[:3], steady[3] * 5, *steady[4:]]
    assert 99 not in percentile_intervals(blocks, (50, 99), 0.95)
    assert percentile_ratio(steady, blocks, 99, 0.95) is None
    assert percentile_intervals(blocks, (50,), 0.95)[50].estimate == pytest.approx(1, rel=0.01)


def test_few_calls_have_no_percentile():
    assert percentile_intervals([np.array([1.0, 2.0])] * 5, (99,), 0.95) == {}
