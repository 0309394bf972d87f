"""Write figures for a person, with digits added where a value and its threshold print alike."""

from __future__ import annotations

import math
from collections.abc import Callable
from decimal import Decimal

from mlflow_onnx_flavor.schemas.evidence import Interval

MOST_DIGITS = 17  # a double has no more


def significant(value: float, digits: int = 3) -> str:
    """Return plain notation with ``digits`` significant digits: "0.0123", "1.23", "1,230"."""
    if not math.isfinite(value):
        return _not_finite(value)
    if value == 0:
        return "0"
    magnitude = int(f"{value:.{digits - 1}e}".partition("e")[2])
    if magnitude < -4:
        return scientific(value, digits)
    decimals = max(0, digits - 1 - magnitude)
    return f"{value:,.{decimals}f}"


def scientific(value: float, digits: int = 2) -> str:
    """Return an error in scientific notation: "0", "2.4e-07"."""
    if not math.isfinite(value):
        return _not_finite(value)
    return "0" if value == 0 else f"{value:.{digits - 1}e}"


def milliseconds(value_ms: float, digits: int = 3) -> str:
    """Return a time with its unit: "1.23 ms"."""
    return f"{significant(value_ms, digits)} ms"


def ratio(value: float, decimals: int = 2) -> str:
    """Return a ratio with two significant digits at least: "1.87", "0.04", "1,234"."""
    if not math.isfinite(value):
        return _not_finite(value)
    if 0 < abs(value) < 0.095:
        return significant(value, decimals)
    return f"{value:,.{decimals}f}" if abs(value) < 1000 else f"{value:,.{decimals - 2}f}"


def percent(fraction: float, digits: int = 2) -> str:
    """Return a share in percent: "0.1%", "37%".  Anything below 1 never prints as "100%"."""
    if not math.isfinite(fraction):
        return _not_finite(fraction)
    rounded = float(f"{fraction * 100:.{digits}g}")
    if rounded == 100 and fraction < 1 and digits < MOST_DIGITS:
        return percent(fraction, digits + 1)
    text = f"{Decimal(repr(rounded)):f}"
    return f"{text.rstrip('0').rstrip('.') if '.' in text else text}%"


def count(value: int) -> str:
    """Return a whole number with thousands separators: "1,234"."""
    return f"{value:,}"


def byte_size(size_bytes: float, digits: int = 3) -> str:
    """Return a size in decimal units, as the size gate counts: 1 MB is 1,000,000 bytes."""
    if size_bytes < 1000:
        return f"{size_bytes:.0f} bytes"
    value, units = float(size_bytes), iter(("kB", "MB", "GB", "TB", "PB"))
    unit = ""
    while value >= 999.5 and (larger := next(units, "")):
        value, unit = value / 1000, larger
    return f"{significant(value, digits)} {unit}"


def duration(seconds: float) -> str:
    """Return a duration: "0.005 s", "12 s", "3 min 05 s", "2 h 10 min"."""
    if seconds < 0.01:
        return f"{seconds:.3f} s" if seconds >= 0.0005 else "0 s"
    if seconds < 59.5:
        return f"{significant(seconds, 2)} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    return f"{minutes // 60} h {minutes % 60:02d} min"


def interval(value: Interval, decimals: int = 2) -> str:
    """Return the estimate and its confidence interval: "1.87 [1.80, 1.94]"."""
    low, high = ratio(value.low, decimals), ratio(value.high, decimals)
    return f"{ratio(value.estimate, decimals)} [{low}, {high}]"


def apart(
    value: float, threshold: float, form: Callable[[float, int], str], digits: int = 2
) -> tuple[str, str]:
    """Return value and threshold in the same form, with enough digits to tell them apart.

    ``form(number, digits)`` is one of the functions above; ``digits`` is the number to begin with.
    """
    texts = (form(value, digits), form(threshold, digits))
    for more in range(digits + 1, MOST_DIGITS + 1):
        if texts[0] != texts[1] or value == threshold:
            break
        texts = (form(value, more), form(threshold, more))
    return texts


def interval_apart(value: Interval, threshold: float) -> tuple[str, str]:
    """Return the interval and the threshold for its lower end, with enough digits to differ."""
    decimals = 2
    while (
        value.low != threshold
        and ratio(value.low, decimals) == ratio(threshold, decimals)
        and decimals < MOST_DIGITS
    ):
        decimals += 1
    return interval(value, decimals), ratio(threshold, decimals)


def _not_finite(value: float) -> str:
    if math.isnan(value):
        return "NaN"
    return "infinite" if value > 0 else "minus infinite"
