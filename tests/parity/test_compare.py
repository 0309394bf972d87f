"""Comparing one output: errors, labels, NaN, shapes, and tolerances that come from arithmetic."""

from __future__ import annotations

import numpy as np
import pytest

from mlflow_onnx_flavor.parity.compare import auto_tolerance, compare_outputs


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
    assert exact.auto_tolerance == wrong.auto_tolerance == auto_tolerance(np.dtype("float32"))


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


def test_another_shape_disagrees_on_every_row():
    parity = compare_outputs("y", np.ones((4, 2)), np.ones(8))
    assert not parity.same_shape and parity.disagreements(10.0) == 4


def test_zeros_and_huge_numbers_do_not_break_the_scale():
    for values in (np.zeros(5), np.full(5, 1e308), np.full(5, 1e-308), np.full(5, np.nan)):
        assert compare_outputs("y", values, values.copy()).disagreements(1e-6) == 0


def test_no_rows_are_no_disagreement():
    assert compare_outputs("y", np.empty((0, 2)), np.empty((0, 2))).disagreements(1e-6) == 0
