"""The automatic tolerance: from dtypes, from the terms of sums, from the source's own rounding."""

from __future__ import annotations

import numpy as np
import pytest

from mlflow_onnx_flavor.comparison.tolerance import Rounding, auto_tolerance, roundings_of, widest
from mlflow_onnx_flavor.onnx_graph.precision import Arithmetic

F32, F64, F16 = (np.dtype(name) for name in ("float32", "float64", "float16"))
DTYPES_ALONE = 1.2e-4


NOT_COUNTED = Arithmetic()


def of(source, candidate, arithmetic=NOT_COUNTED, rounding=None):
    return auto_tolerance(source, candidate, arithmetic, rounding)


def test_where_nothing_is_known_dtypes_decide():
    for arithmetic, rounding in (
        (Arithmetic(), None),
        (Arithmetic(terms=10), None),
        (Arithmetic(), Rounding(1e-7, "perturbation")),
    ):
        found = of(F32, F32, arithmetic, rounding)
        assert found.basis == "dtypes" and found.value == pytest.approx(DTYPES_ALONE, rel=0.02)


def test_longer_sums_may_be_further_apart_and_never_beyond_the_dtypes():
    steady = Rounding(1e-8, "perturbation")
    values = [of(F64, F32, Arithmetic(terms=n), steady).value for n in (4, 400, 40_000, 10**8)]
    assert values == sorted(values) and values[0] < 6e-6
    assert values[-1] == pytest.approx(DTYPES_ALONE, rel=0.02)
    assert of(F64, F32, Arithmetic(terms=4), steady).basis == "reductions"


def test_a_source_that_amplifies_roundings_is_given_that_much():
    found = of(F64, F32, Arithmetic(terms=4), Rounding(2e-6, "perturbation"))
    assert found.basis == "perturbation" and found.value == pytest.approx(1.6e-5)
    beyond = of(F64, F32, Arithmetic(terms=4), Rounding(np.inf, "perturbation"))
    assert beyond.basis == "dtypes" and beyond.value == pytest.approx(DTYPES_ALONE, rel=0.02)


def test_only_rounding_against_float64_widens_what_dtypes_say():
    assert of(F32, F32, rounding=Rounding(1e-3, "float64")).value == pytest.approx(8e-3)
    assert of(F32, F32, rounding=Rounding(1e-12, "float64")).value < 2e-6
    assert of(F16, F16, rounding=Rounding(1e-4, "float64")).value == pytest.approx(1.6e-2, rel=0.1)
    assert of(F16, F16, rounding=Rounding(1e-2, "float64")).value == pytest.approx(8e-2)


def test_a_candidate_in_float64_is_held_to_float64():
    steady = Rounding(1e-7, "perturbation")
    assert of(F64, F64, Arithmetic("float64", 4), steady).value == pytest.approx(9.3e-10, rel=0.01)


def test_half_precision_of_the_candidate_widens_nothing():
    steady = Rounding(1e-7, "float64")
    assert of(F32, F16, Arithmetic("float16", 4), steady).value < 2e-6


def test_of_several_outputs_the_one_that_moves_most_counts():
    found = roundings_of(
        {"a": {"error": 1e-7, "basis": "float64"}, "b": {"error": 2e-7, "basis": "float64"}}
    )
    assert widest(found) == found["b"] and widest({}) is None
