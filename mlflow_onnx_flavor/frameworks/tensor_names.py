"""Names of graph inputs and outputs."""

from __future__ import annotations

from collections.abc import Sequence


def graph_inputs(names: Sequence[str], outputs: Sequence[str]) -> tuple[str, ...]:
    """Names for the graph's inputs: as they are, but none that an output has already.

    A model may answer under the name that it was asked with; a graph has one tensor to a name.
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
