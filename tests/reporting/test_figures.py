"""Figures read as a person writes them, and a value never prints like its threshold."""

from __future__ import annotations

import pytest

from mlflow_onnx_flavor.reporting import figures
from mlflow_onnx_flavor.schemas.evidence import Interval


@pytest.mark.parametrize(
    ("made", "expected"),
    [
        (figures.significant(0.012345), "0.0123"),
        (figures.significant(1234.5), "1,234"),
        (figures.significant(1e-9), "1.00e-09"),
        (figures.significant(0), "0"),
        (figures.scientific(2.449e-7), "2.4e-07"),
        (figures.scientific(float("inf")), "infinite"),
        (figures.scientific(float("nan")), "NaN"),
        (figures.milliseconds(1.234), "1.23 ms"),
        (figures.ratio(1.874), "1.87"),
        (figures.ratio(0.0412), "0.041"),
        (figures.ratio(12345.6), "12,346"),
        (figures.percent(0.001), "0.1%"),
        (figures.percent(0.00001), "0.001%"),
        (figures.percent(1e-9), "0.0000001%"),
        (figures.percent(0.37), "37%"),
        (figures.percent(0), "0%"),
        (figures.percent(1), "100%"),
        (figures.byte_size(999), "999 bytes"),
        (figures.byte_size(1_234_567), "1.23 MB"),
        (figures.byte_size(999_999), "1.00 MB"),
        (figures.byte_size(2_400_000_000), "2.40 GB"),
        (figures.duration(0.0001), "0 s"),
        (figures.duration(0.41), "0.41 s"),
        (figures.duration(59.9), "1 min 00 s"),
        (figures.duration(3725), "1 h 02 min"),
    ],
)
def test_a_figure_reads_as_a_person_writes_it(made, expected):
    assert made == expected


def test_a_share_that_is_not_all_never_prints_as_all():
    assert figures.percent(0.99996) == "99.996%"


@pytest.mark.parametrize(
    ("value", "threshold", "form", "expected"),
    [
        (0.99996, 1.0, figures.ratio, ("0.99996", "1.00000")),
        (0.0010004, 0.001, figures.percent, ("0.10004%", "0.1%")),
        (5.0001, 5.0, figures.milliseconds, ("5.0001 ms", "5.0000 ms")),
        (1e-4, 1.04e-4, figures.scientific, ("1.00e-04", "1.04e-04")),
        (2.0, 1.0, figures.ratio, ("2.00", "1.00")),
        (1.0, 1.0, figures.ratio, ("1.00", "1.00")),
    ],
)
def test_digits_are_added_until_value_and_threshold_differ(value, threshold, form, expected):
    assert figures.apart(value, threshold, form) == expected


@pytest.mark.parametrize("gap", [1e-3, 1e-6, 1e-9, 1e-12, 1e-15])
@pytest.mark.parametrize(
    "form", [figures.ratio, figures.percent, figures.significant, figures.scientific]
)
def test_however_small_the_gap_it_is_seen(gap, form):
    value, threshold = figures.apart(0.5 + gap, 0.5, form)
    assert value != threshold


def test_the_lower_end_of_an_interval_is_told_apart_from_its_threshold():
    measured = Interval(estimate=1.02, low=0.9996, high=1.04, confidence=0.95)
    assert figures.interval(measured) == "1.02 [1.00, 1.04]"
    assert figures.interval_apart(measured, 1.0) == ("1.0200 [0.9996, 1.0400]", "1.0000")
