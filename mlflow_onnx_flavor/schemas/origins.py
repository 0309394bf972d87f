"""Origins of the rows that are compared."""

from __future__ import annotations

EVALUATION_DATA = "evaluation data"
INPUT_EXAMPLE = "input example"
PROBES = "probes"
SEARCHED_PROBES = "probes searched on"  # followed by the candidate's name
BATCH_PROBES = "probes within a batch"  # the source refuses them one at a time
EXTREME_PROBES = "extreme probes"  # inputs that no service should receive


def probes_of_size(size: int) -> str:
    """Return the origin of probes of another size along an axis."""
    return f"{PROBES} of size {size}"


def is_probe(origin: str) -> bool:
    """Return whether rows of ``origin`` were generated."""
    return origin.startswith(PROBES) or origin == EXTREME_PROBES
