"""Comparing one output: errors, labels, NaN, shapes, and tolerances that come from arithmetic."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from mlflow_onnx_flavor.comparison.outputs import compare_outputs
from mlflow_onnx_flavor.comparison.tolerance import auto_tolerance
from mlflow_onnx_flavor.onnx_graph.precision import Arithmetic


def test_equal_outputs_agree_at_any_tolerance():
    values = np.random.default_rng(0).normal(size=(50, 3))
    parity = compare_outputs("y", values, values.copy())
    assert parity.max_absolute_error == 0 and parity.disagreements(1e-15) == 0


def test_rows_are_counted_by_their_largest_scaled_error():
    source = np.ones((100, 2))
    candidate = source.copy()
    candidate[:7, 1] += 1e-3
    parity = compare_outputs("y", source, candidate)
    assert parity.disagreements(5e-4) == 7 and parity.disagreements(2e-3) == 0
    assert parity.max_absolute_error == pytest.approx(1e-3)


def test_the_scale_is_that_of_the_output():
    source = np.random.default_rng(0).normal(size=(100, 1)) * 1e6
    parity = compare_outputs("y", source, source + 10.0)
    assert parity.disagreements(1e-4) == 0  # 10 in a million is rounding for float32
    small = compare_outputs("y", source * 1e-12, source * 1e-12 + 10.0)
    assert small.disagreements(1e-4) == 100


def test_float32_rounding_is_within_the_automatic_tolerance_and_bf16_is_not():
    source = np.random.default_rng(0).normal(size=(200, 10))
    faithful = compare_outputs("y", source, source.astype(np.float32))
    assert faithful.disagreements(faithful.auto_tolerance) == 0
    bits = source.astype(np.float32).view(np.uint32) & 0xFFFF0000
    coarse = compare_outputs("y", source, bits.view(np.float32))
    assert coarse.disagreements(coarse.auto_tolerance) == 200


def test_the_automatic_tolerance_depends_on_dtypes_alone():
    exact = compare_outputs("y", np.zeros(3), np.zeros(3, np.float32))
    wrong = compare_outputs("y", np.zeros(3), np.ones(3, np.float32))
    assert exact.auto_tolerance == wrong.auto_tolerance
    assert exact.auto_tolerance == auto_tolerance(np.dtype("float32"), np.dtype("float32")).value


@pytest.mark.parametrize(
    ("source", "candidate", "graph", "like"),
    [
        ("float64", "float64", "float64", "float64"),
        ("float64", "float64", "float32", "float32"),  # a float32 tree ensemble, cast behind it
        ("float64", "float32", "float64", "float32"),
        ("float32", "float64", "float64", "float32"),
        ("float16", "float16", "float16", "float16"),
        ("float16", "float32", "float32", "float16"),
    ],
)
def test_the_coarsest_arithmetic_in_the_chain_sets_the_tolerance(source, candidate, graph, like):
    found = auto_tolerance(np.dtype(source), np.dtype(candidate), Arithmetic(graph)).value
    assert found == auto_tolerance(np.dtype(like), np.dtype(like), Arithmetic(like)).value
    expected = {"float64": 1e-9, "float32": 1.2e-4, "float16": 1.6e-2}[like]
    assert found == pytest.approx(expected, rel=0.1)


@pytest.mark.parametrize(("candidate", "graph"), [("float16", "float16"), ("float32", "float16")])
def test_a_half_precision_candidate_does_not_widen_its_own_tolerance(candidate, graph):
    source = np.random.default_rng(0).normal(size=(100, 3)).astype(np.float32)
    found = compare_outputs(
        "y", source, source.astype(np.float16).astype(candidate), Arithmetic(graph)
    )
    assert found.auto_tolerance == pytest.approx(1.2e-4, rel=0.1)
    wrong = compare_outputs("y", source, (source * 1.01).astype(candidate), Arithmetic(graph))
    assert wrong.disagreements(wrong.auto_tolerance) == 100


def test_float64_is_held_to_more_than_float32():
    source = np.random.default_rng(0).normal(size=(100, 3))
    parity = compare_outputs("y", source, source * (1 + 1e-7), Arithmetic("float64"))
    assert parity.disagreements(parity.auto_tolerance) == 100
    faithful = compare_outputs("y", source, source * (1 + 1e-13), Arithmetic("float64"))
    assert faithful.disagreements(faithful.auto_tolerance) == 0


def test_counts_and_percentiles_are_exact():
    errors = np.linspace(0.0, 1.0, 2001) + 2.5e-4  # none on a threshold itself
    parity = compare_outputs("y", np.ones(2001), 1.0 + errors)
    for tolerance in (1e-3, 1e-2, 1e-1):
        assert parity.disagreements(tolerance) == int((errors > tolerance).sum())
    assert parity.p999_absolute_error == pytest.approx(errors[-3])


def test_relative_errors_leave_out_what_is_zero():
    parity = compare_outputs("y", np.array([0.0, 2.0]), np.array([1e-9, 2.2]))
    assert parity.max_relative_error == pytest.approx(0.1)
    assert parity.max_absolute_error == pytest.approx(0.2)


def test_errors_beyond_float64_are_infinite_and_disagree():
    parity = compare_outputs("y", np.full(3, 1e308), np.full(3, -1e308))
    assert parity.p999_absolute_error == np.inf and parity.disagreements(10.0) == 3


def test_nan_must_stand_where_it_stood():
    source = np.array([1.0, np.nan, np.inf, -np.inf])
    same = compare_outputs("y", source, source.copy())
    assert same.nonfinite_mismatches == 0 and same.disagreements(1e-4) == 0
    moved = compare_outputs("y", source, np.array([np.nan, np.nan, -np.inf, -np.inf]))
    assert moved.nonfinite_mismatches == 2 and moved.disagreements(10.0) == 2


def test_text_labels_are_compared_by_value():
    parity = compare_outputs(
        "label", np.array(["a", "b", "c"]), np.array(["a", "x", "c"], dtype=object)
    )
    assert parity.kind == "labels" and parity.label_disagreements == 1


def test_integers_are_labels_whatever_their_width():
    parity = compare_outputs("label", np.array([1, 2, 3]), np.array([1, 2, 4], np.int32))
    assert parity.kind == "labels" and parity.label_disagreements == 1


def test_a_number_is_not_the_text_of_it():
    parity = compare_outputs("label", np.array([1, 2]), np.array(["1", "2"], object))
    assert parity.label_disagreements == 2


@pytest.mark.parametrize("missing", [None, np.nan, pd.NA])
def test_missing_labels_equal_missing_labels_only(missing):
    source = np.array(["a", missing, "c"], object)
    assert compare_outputs("y", source, np.array(["a", None, "c"], object)).label_disagreements == 0
    assert compare_outputs("y", source, np.array(["a", "b", None], object)).label_disagreements == 2


def test_bytes_are_the_text_that_they_encode():
    source = np.array(["ä".encode(), b"b"], object)
    assert compare_outputs("y", source, np.array(["ä", "x"], object)).label_disagreements == 1


def test_integers_that_a_float_cannot_hold_are_not_rounded_to_meet_it():
    source = np.array([2**53 + 1, 7])
    assert compare_outputs("y", source, np.array([2.0**53, 7.0])).label_disagreements == 1
    assert compare_outputs("y", source, source.astype(np.uint64)).label_disagreements == 0


def test_booleans_and_whole_floats_are_labels_by_value():
    assert compare_outputs("y", np.array([True, False]), np.array([1, 1])).label_disagreements == 1
    assert compare_outputs("y", np.array([1, 2]), np.array([1.0, 2.5])).label_disagreements == 1


def test_one_disagreeing_element_is_a_disagreeing_row():
    source = np.zeros((5, 3), int)
    candidate = source.copy()
    candidate[2] = 9
    assert compare_outputs("y", source, candidate).label_disagreements == 1


def test_a_bare_scalar_is_one_row():
    parity = compare_outputs("y", np.float32(1), np.float32(2))
    assert (parity.rows, parity.source_shape, parity.disagreements(1e-4)) == (1, (), 1)
    assert compare_outputs("y", np.ones(3), np.float32(1)).disagreements(10.0) == 3


def test_a_column_is_not_a_scalar_per_row():
    parity = compare_outputs("y", np.ones(4), np.ones((4, 1)))
    assert (parity.source_shape, parity.candidate_shape) == ((4,), (4, 1))
    assert parity.disagreements(10.0) == 4


def test_another_shape_disagrees_on_every_row():
    parity = compare_outputs("y", np.ones((4, 2)), np.ones(8))
    assert not parity.same_shape and parity.disagreements(10.0) == 4


def test_zeros_and_huge_numbers_do_not_break_the_scale():
    for values in (np.zeros(5), np.full(5, 1e308), np.full(5, 1e-308), np.full(5, np.nan)):
        assert compare_outputs("y", values, values.copy()).disagreements(1e-6) == 0


def test_no_rows_are_no_disagreement():
    assert compare_outputs("y", np.empty((0, 2)), np.empty((0, 2))).disagreements(1e-6) == 0
