"""What tuning a session found: evidence of the settings that were tried."""

from __future__ import annotations

from typing import Any

from mlflow_onnx_flavor.schemas.evidence import Count, Evidence, Interval, NonNegative, Seconds

Settings = dict[str, Any]  # as `session_options` of the flavor


class TriedSettings(Evidence):
    """``times_as_fast``: as the default, the middle of its rounds; None where it failed."""

    settings: Settings
    rounds: Count
    rung: Count
    times_as_fast: NonNegative | None
    cause: str = ""


class Tuning(Evidence):
    """What was tried, and the settings that are left; None where none is faster than the default.

    ``against_default``: of the best in its duel with the default, by batch size and under "all".
    """

    tried: tuple[TriedSettings, ...]
    best: Settings | None
    against_default: dict[str, Interval]
    chosen: bool
    cores: Count
    seconds: Seconds


def description(tuning: Tuning) -> str:
    """What was found, in one line."""
    if tuning.best is None:
        return f"none of {len(tuning.tried)} settings could be measured"
    ratio = tuning.against_default.get("all")
    return (
        f"{in_words(tuning.best)}: {ratio or 'not'} times as fast as onnxruntime's own settings,"
        f" the best of {len(tuning.tried)} on {tuning.cores} cores"
    )


def in_words(settings: Settings) -> str:
    """Return "intra_op_num_threads 1, session.intra_op.allow_spinning 0"."""
    nested = ("config_entries", "provider_options")
    plain = {name: value for name, value in settings.items() if name not in nested}
    plain |= settings.get("config_entries", {})
    for provider, options in settings.get("provider_options", {}).items():
        plain |= {f"{provider}'s {name}": value for name, value in options.items()}
    return ", ".join(f"{name} {value}" for name, value in plain.items()) or "onnxruntime's own"
