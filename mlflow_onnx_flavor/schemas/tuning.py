"""The evidence of tuning: session settings that were tried, and the best of them."""

from __future__ import annotations

from typing import Any

from mlflow_onnx_flavor.schemas.evidence import Count, Evidence, Interval, NonNegative, Seconds

Settings = dict[str, Any]  # in the form of the flavor's `session_options`


class TriedSettings(Evidence):
    """Session settings that were tried.

    ``times_as_fast``: relative to the default settings, the median of its rounds; None where it
    failed.
    """

    settings: Settings
    rounds: Count
    rung: Count
    times_as_fast: NonNegative | None
    cause: str = ""


class Tuning(Evidence):
    """The settings that were tried, and the best; None where none is faster than the default.

    ``against_default``: the speed-ups of the best over the default in a direct comparison, by batch
    size and under "all".
    """

    tried: tuple[TriedSettings, ...]
    best: Settings | None
    against_default: dict[str, Interval]
    chosen: bool
    cores: Count
    seconds: Seconds


def description(tuning: Tuning) -> str:
    """Return the result of tuning in one line."""
    if tuning.best is None:
        return f"none of {len(tuning.tried)} settings could be measured"
    ratio = tuning.against_default.get("all")
    return (
        f"{in_words(tuning.best)}: {ratio or 'not'} times as fast as onnxruntime's own settings,"
        f" the best of {len(tuning.tried)} on {tuning.cores} cores"
    )


def in_words(settings: Settings) -> str:
    """Return settings as text: "intra_op_num_threads 1, session.intra_op.allow_spinning 0"."""
    nested = ("config_entries", "provider_options")
    plain = {name: value for name, value in settings.items() if name not in nested}
    plain |= settings.get("config_entries", {})
    for provider, options in settings.get("provider_options", {}).items():
        plain |= {f"{provider}'s {name}": value for name, value in options.items()}
    return ", ".join(f"{name} {value}" for name, value in plain.items()) or "onnxruntime's own"
