"""Tuning a session: the search on simulated settings whose speed is known, then a real one."""

from __future__ import annotations

import numpy as np
import pytest

from mlflow_onnx_flavor.candidates import tuned
from mlflow_onnx_flavor.candidates.base import CandidateError, Measuring
from mlflow_onnx_flavor.inputs import Inputs
from mlflow_onnx_flavor.latency import halving as halving_module
from mlflow_onnx_flavor.latency import tuning as tuning_module
from mlflow_onnx_flavor.latency.halving import Halving
from mlflow_onnx_flavor.latency.settings import merged, settings_to_try, thread_counts
from mlflow_onnx_flavor.schemas.evidence import Interval
from mlflow_onnx_flavor.schemas.tuning import Tuning, description, in_words
from tests.builders import CPU, tensor_spec
from tests.latency.simulated import Clock
from tests.onnx_graphs import doubling

SPEC = tensor_spec(2)


@pytest.fixture
def clock(monkeypatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(halving_module, "time", clock)
    return clock


def simulated(clock, speeds, noise=0.05, seed=0):
    """A search among settings that are so many times as fast as the default; None: it fails."""
    generator = np.random.default_rng(seed)

    def block(number):
        clock.seconds += 0.02
        speed = 1.0 if number == 0 else speeds[number - 1]
        if speed is None:
            return None
        return {size: 1e6 / speed * np.exp(generator.normal(0, noise)) for size in (1, 32)}

    return Halving(len(speeds), block, seconds=20.0)


def test_the_fastest_settings_are_found(clock):
    speeds = [*np.linspace(0.5, 1.1, 22), 1.4, 0.9]
    number, against = simulated(clock, speeds).best(0.95)
    assert number == 23 and set(against) == {None, 1, 32}
    assert against[None].low <= 1.4 <= against[None].high and against[None].low > 1.3
    assert clock.seconds < 30


def test_the_slower_half_drops_out_and_leaves_its_time_to_the_others(clock):
    search = simulated(clock, list(np.linspace(0.5, 2.0, 16)))
    search.best(0.95)
    assert sorted(search.rung.values()) == [0] * 8 + [1] * 4 + [2] * 2 + [3] * 2
    assert len(search.logs[16]) > 4 * len(search.logs[1])


def test_settings_that_fail_are_out_and_all_failing_is_nothing(clock):
    number, _ = simulated(clock, [None, 1.2, None]).best(0.95)
    assert number == 2
    assert simulated(clock, [None, None]).best(0.95) is None


def test_settings_as_fast_as_the_default_are_seldom_said_to_be_faster(clock):
    """The best of many that are all the same has won by luck, and its duel tells."""
    said = 0
    for seed in range(60):
        _, against = simulated(clock, [1.0] * 12, seed=seed).best(0.95)
        said += against[None].low > 1
    assert said <= 5  # 2.5 % of 60 are 1.5


@pytest.mark.parametrize(
    ("cores", "counts"), [(1, [1]), (2, [1, 2]), (6, [1, 2, 4, 6]), (8, [1, 2, 4, 8])]
)
def test_threads_up_to_the_cores(cores, counts):
    assert thread_counts(cores) == counts


def test_settings_to_try_are_many_and_different_and_not_the_default():
    tried = settings_to_try(4)
    assert len(tried) == 24 and {} not in tried
    assert all(tried.count(each) == 1 for each in tried)
    assert {"intra_op_num_threads": 4} in tried and {"execution_mode": "parallel"} in tried
    assert settings_to_try(4) == tried


def test_options_of_the_provider_are_tried_and_kept_beside_each_other():
    tried = settings_to_try(2, "CUDAExecutionProvider")
    named = [each["provider_options"] for each in tried if "provider_options" in each]
    assert {"CUDAExecutionProvider": {"prefer_nhwc": "1"}} in named and len(tried) == 24
    assert all(list(each) == ["CUDAExecutionProvider"] for each in named)
    assert not any("provider_options" in each for each in settings_to_try(2))
    both = merged(
        {"provider_options": {"A": {"x": "1"}}}, {"provider_options": {"A": {"y": "2"}}}, {"c": 3}
    )
    assert both == {"provider_options": {"A": {"x": "1", "y": "2"}}, "c": 3}
    assert in_words(both) == "c 3, A's x 1, A's y 2"


def test_entries_of_several_settings_are_kept():
    whole = merged({"config_entries": {"a": "0"}}, {"config_entries": {"b": "1"}, "c": 2})
    assert whole == {"config_entries": {"a": "0", "b": "1"}, "c": 2}
    assert in_words(whole) == "c 2, a 0, b 1" and in_words({}) == "onnxruntime's own"


@pytest.fixture
def measuring(tmp_path):
    rows = Inputs(np.ones((8, 2), np.float32)).save(tmp_path / "rows")
    provider = CPU
    return Measuring(rows, SPEC, provider, (1, 4), 0.95, 0.5)


def test_a_real_session_is_tuned(tmp_path, measuring):
    found = tuning_module.tune(
        doubling(tmp_path / "model.onnx"),
        SPEC.model_dump(mode="json"),
        Inputs.load(measuring.inputs),
        measuring.provider.model_dump(),
        (1, 4),
        0.95,
        1.0,
    )
    assert len(found.tried) >= 12 and all(each.rounds >= 2 for each in found.tried)
    assert {"1", "4", "all"} == set(found.against_default)
    assert found.best in [each.settings for each in found.tried]
    low = found.against_default["all"].low
    assert not found.chosen or low > 1
    assert Tuning.model_validate_json(found.model_dump_json()) == found
    assert f"best of {len(found.tried)}" in description(found)


def found_to_be(low: float) -> Tuning:
    return Tuning(
        tried=(),
        best={"intra_op_num_threads": 1},
        against_default={
            "all": Interval(estimate=low + 0.1, low=low, high=low + 0.2, confidence=0.95)
        },
        chosen=low > 1,
        cores=2,
        seconds=1.0,
    )


def test_the_winner_is_what_the_candidate_is_logged_with(tmp_path, measuring, monkeypatch):
    monkeypatch.setattr(tuning_module, "tune", lambda *_: found_to_be(1.1))
    converted = doubling(tmp_path / "converted.onnx")
    built = tuned.build(converted, tmp_path / "model.onnx", measuring)
    assert built.session_options == {"intra_op_num_threads": 1}
    assert (tmp_path / "model.onnx").read_bytes() == converted.read_bytes()
    assert "intra_op_num_threads 1: 1.20 [1.10, 1.30] times as fast" in built.description
    assert Tuning.model_validate(built.details).chosen


def test_the_default_stays_where_nothing_is_faster(tmp_path, measuring, monkeypatch):
    monkeypatch.setattr(tuning_module, "tune", lambda *_: found_to_be(0.95))
    with pytest.raises(CandidateError, match="no settings are faster than onnxruntime's own"):
        tuned.build(doubling(tmp_path / "c.onnx"), tmp_path / "model.onnx", measuring)


def test_without_rows_there_is_nothing_to_tune_on(tmp_path):
    with pytest.raises(CandidateError, match="give it inputs"):
        tuned.build(doubling(tmp_path / "c.onnx"), tmp_path / "model.onnx")
