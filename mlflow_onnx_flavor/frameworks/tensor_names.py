"""Names of graph inputs that do not collide with names of outputs."""

from __future__ import annotations

from collections.abc import Sequence


def graph_inputs(names: Sequence[str], outputs: Sequence[str]) -> tuple[str, ...]:
    """Return ``names``, with a suffix for those that an output has already.

    A model may have an output with the name of an input, but a graph has one tensor for each name.
    """
    taken = set(outputs) | set(names)
    found = []
    for name in names:
        candidate = name
        while candidate in outputs or (candidate != name and candidate in taken):
            candidate += "_input"
        found.append(candidate)
        taken.add(candidate)
    return tuple(found)
