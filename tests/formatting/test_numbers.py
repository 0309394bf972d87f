"""Figures read as a person writes them, and a value never prints like its threshold."""

from __future__ import annotations

import pytest

from mlflow_onnx_flavor.formatting import numbers
from mlflow_onnx_flavor.schemas.evidence import Interval


@pytest.mark.parametrize(
    ("made", "expected"),
    [
        (numbers.significant(0.012345), "0.0123"),
        (numbers.significant(1234.5), "1,234"),
        (numbers.significant(1e-9), "1.00e-09"),
        (numbers.significant(0), "0"),
        (numbers.scientific(2.449e-7), "2.4e-07"),
        (numbers.scientific(float("inf")), "infinite"),
        (numbers.scientific(float("nan")), "NaN"),
        (numbers.milliseconds(1.234), "1.23 ms"),
        (numbers.ratio(1.874), "1.87"),
        (numbers.ratio(0.0412), "0.041"),
        (numbers.ratio(12345.6), "12,346"),
        (numbers.percent(0.001), "0.1%"),
        (numbers.percent(0.00001), "0.001%"),
        (numbers.percent(1e-9), "0.0000001%"),
        (numbers.percent(0.37), "37%"),
        (numbers.percent(0), "0%"),
        (numbers.percent(1), "100%"),
        (numbers.byte_size(999), "999 bytes"),
        (numbers.byte_size(1_234_567), "1.23 MB"),
        (numbers.byte_size(999_999), "1.00 MB"),
        (numbers.byte_size(2_400_000_000), "2.40 GB"),
        (numbers.duration(0.0001), "0 s"),
        (numbers.duration(0.41), "0.41 s"),
        (numbers.duration(59.9), "1 min 00 s"),
        (numbers.duration(3725), "1 h 02 min"),
    ],
)
def test_a_figure_reads_as_a_person_writes_it(made, expected):
    assert made == expected


def test_a_share_that_is_not_all_never_prints_as_all():
    assert numbers.percent(0.99996) == "99.996%"


@pytest.mark.parametrize(
    ("value", "threshold", "form", "expected"),
    [
        (0.99996, 1.0, numbers.ratio, ("0.99996", "1.00000")),
        (0.0010004, 0.001, numbers.percent, ("0.10004%", "0.1%")),
        (5.0001, 5.0, numbers.milliseconds, ("5.0001 ms", "5.0000 ms")),
        (1e-4, 1.04e-4, numbers.scientific, ("1.00e-04", "1.04e-04")),
        (2.0, 1.0, numbers.ratio, ("2.00", "1.00")),
        (1.0, 1.0, numbers.ratio, ("1.00", "1.00")),
    ],
)
def test_digits_are_added_until_value_and_threshold_differ(value, threshold, form, expected):
    assert numbers.apart(value, threshold, form) == expected


@pytest.mark.parametrize("gap", [1e-3, 1e-6, 1e-9, 1e-12, 1e-15])
@pytest.mark.parametrize(
    "form", [numbers.ratio, numbers.percent, numbers.significant, numbers.scientific]
)
def test_however_small_the_gap_it_is_seen(gap, form):
    value, threshold = numbers.apart(0.5 + gap, 0.5, form)
    assert value != threshold


def test_the_lower_end_of_an_interval_is_told_apart_from_its_threshold():
    measured = Interval(estimate=1.02, low=0.9996, high=1.04, confidence=0.95)
    assert numbers.interval(measured) == "1.02 [1.00, 1.04]"
    assert numbers.interval_apart(measured, 1.0) == ("1.0200 [0.9996, 1.0400]", "1.0000")
