"""Noise of a measurement: a note and a table on the system load while it ran."""

from __future__ import annotations

from collections.abc import Iterator

from mlflow_onnx_flavor.formatting import numbers
from mlflow_onnx_flavor.reporting.tables.parity import Table, table
from mlflow_onnx_flavor.schemas.evidence import Surroundings

# Shares from which on an absolute time differs from that on a quiet machine.
OTHERS, STEAL, THROTTLED, SPREAD = 0.10, 0.02, 0.01, 0.10


def noise_note(surroundings: Surroundings | None) -> str:
    """Return one sentence if the run was noisy, else ""."""
    reasons = list(_reasons(surroundings)) if surroundings else []
    if not reasons:
        return ""
    return (
        f"noisy: {', '.join(reasons)}; ratios are of models that took turns and hold, absolute"
        " times are those of a busy machine"
    )


def surroundings_table(surroundings: Surroundings | None) -> Table:
    """Return the table of the figures behind the note."""
    if surroundings is None:
        return table(["", ""], [])
    shares = (
        ("Processor time of other processes", surroundings.others_share),
        ("Processor time that the hypervisor took", surroundings.steal_share),
        ("Time held back by a quota", surroundings.throttled_share),
        ("Time in which some process waited for a core", surroundings.waiting_share),
        ("Rounds of the source away from the middle one, typically", surroundings.source_spread),
    )
    rows = [(what, numbers.percent(share)) for what, share in shares if share is not None]
    if surroundings.load_average is not None:
        rows.append(("Load average at the end", numbers.significant(surroundings.load_average)))
    return table(["", ""], rows)


def _reasons(surroundings: Surroundings) -> Iterator[str]:
    others, steal = surroundings.others_share or 0, surroundings.steal_share or 0
    throttled, spread = surroundings.throttled_share or 0, surroundings.source_spread or 0
    if others >= OTHERS:
        share = numbers.percent(others)
        yield f"other processes took {share} of the processor time"
    if steal >= STEAL:
        yield f"the hypervisor took {numbers.percent(steal)} of it"
    if throttled >= THROTTLED:
        share = numbers.percent(throttled)
        yield f"a quota held the processes back for {share} of the time"
    if spread >= SPREAD:
        share = numbers.percent(spread)
        yield f"the source's rounds are {share} apart"
