"""The source's own rounding, measured on the source alone."""

from __future__ import annotations

import numpy as np
import pandas as pd

from mlflow_onnx_flavor.comparison.rounding import merged, own_rounding
from mlflow_onnx_flavor.comparison.tolerance import Rounding
from mlflow_onnx_flavor.inputs import Inputs

EPS = float(np.finfo(np.float32).eps)
RNG = np.random.default_rng(0)
ROWS = RNG.normal(size=(200, 8)).astype(np.float32)
WEIGHTS = RNG.normal(size=8).astype(np.float32)


def in_float32(inputs):
    return {"y": inputs.data @ WEIGHTS}


def in_float64(inputs):
    return {"y": inputs.data.astype(np.float64) @ WEIGHTS.astype(np.float64)}


def test_the_source_is_held_against_itself_in_float64():
    estimate = own_rounding(in_float32, in_float64, Inputs(ROWS))["y"]
    assert estimate.basis == "float64" and 0.01 * EPS < estimate.error < 8 * EPS


def test_what_amplifies_a_rounding_is_seen_to():
    def wave(inputs):
        return {"y": np.sin(inputs.data.astype(np.float64) * 1e3)}

    plain = own_rounding(in_float32, None, Inputs(ROWS))["y"]
    amplified = own_rounding(wave, None, Inputs(ROWS))["y"]
    assert plain.basis == amplified.basis == "perturbation"
    assert plain.error < 8 * EPS and amplified.error > 100 * EPS


def test_a_row_on_a_threshold_says_nothing_of_rounding():
    on_thresholds = np.round(ROWS[:, :1]) + np.float32(1)

    def steps(inputs):
        return {"y": np.floor(inputs.data) + 0.1 * inputs.data}

    assert own_rounding(steps, None, Inputs(on_thresholds))["y"].error < 8 * EPS


def test_where_every_rounding_jumps_float32_holds_nothing():
    def parity(inputs):  # of the last digit that float32 has
        return {"y": np.round(inputs.data.astype(np.float64) / EPS) % 2 * 2 - 1}

    odd = np.full((8, 1), 1 + EPS, np.float32)
    assert own_rounding(parity, None, Inputs(odd))["y"].error == np.inf


def test_integers_of_a_frame_are_moved_where_the_source_takes_it():
    frame = pd.DataFrame({"n": pd.array([10**6 + 1, 10**6 + 3, None], "Int64")})

    def centred(inputs):
        numbers = inputs.data["n"].to_numpy(np.float64, na_value=np.nan)
        return {"y": numbers - 10**6}

    assert own_rounding(centred, None, Inputs(frame))["y"].error == np.inf

    def whole(inputs):
        if inputs.data["n"].dtype != "Int64":
            raise TypeError("wants integers")
        return centred(inputs)

    assert own_rounding(whole, None, Inputs(frame)) == {}


def test_nothing_is_said_of_text_and_of_a_source_that_does_not_answer():
    texts = Inputs(np.array(["a", "b"], object))
    assert own_rounding(lambda rows: {"y": np.ones(rows.rows)}, None, texts) == {}

    def broken(_inputs):
        raise ValueError("no")

    assert own_rounding(broken, None, Inputs(ROWS)) == {}
    assert own_rounding(in_float32, broken, Inputs(ROWS))["y"].basis == "perturbation"


def test_labels_have_no_rounding():
    def labels(inputs):
        return {"label": (inputs.data[:, 0] > 0).astype(np.int64)}

    assert own_rounding(labels, None, Inputs(ROWS)) == {}


def test_of_several_estimates_the_largest_counts():
    small, large = Rounding(1e-7, "float64"), Rounding(2e-7, "float64")
    assert merged([{"a": small, "b": large}, {"a": large}]) == {"a": large, "b": large}
