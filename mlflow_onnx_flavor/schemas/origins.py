"""Where the rows that are compared come from."""

from __future__ import annotations

EVALUATION_DATA = "evaluation data"
INPUT_EXAMPLE = "input example"
PROBES = "probes"
SEARCHED_PROBES = "probes searched on"  # with the candidate's name
BATCH_PROBES = "probes within a batch"  # which the source refuses one at a time
EXTREME_PROBES = "extreme probes"  # such as no service should be asked


def probes_of_size(size: int) -> str:
    """Return the origin of probes of another size along an axis."""
    return f"{PROBES} of size {size}"


def is_probe(origin: str) -> bool:
    """Return whether rows of ``origin`` were generated."""
    return origin.startswith(PROBES) or origin == EXTREME_PROBES
