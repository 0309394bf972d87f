"""Divergence: bisect a graph for the first node whose answer leaves the tolerance.

The values between the inputs and the outputs are exposed a few at a time and compared with a
reference: the same file on another provider, another file with values of the same names, or the
source's own layers.  So few sessions are made, and no more than a few values are held at once.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from mlflow_onnx_flavor.comparison.outputs import error_by_row
from mlflow_onnx_flavor.machine.scratch import temporary_folder
from mlflow_onnx_flavor.onnx_graph.layer_names import answers_of_layers, layer_of
from mlflow_onnx_flavor.schemas.evidence import Divergence

# The number of values that one session exposes.
_AT_ONCE = 16

Values = Mapping[str, np.ndarray]


class Reference(Protocol):
    """A source of the values that some names in the graph should have."""

    what: str  # its description for the report
    names: Sequence[str]  # of the values that it knows

    def values(self, names: Sequence[str]) -> Values:
        """Return the arrays of the values ``names``."""
        ...


@dataclass(frozen=True)
class Known:
    """Values that were computed already."""

    what: str
    arrays: Values

    @property
    def names(self) -> Sequence[str]:
        """Return the names of all values."""
        return list(self.arrays)

    def values(self, names: Sequence[str]) -> Values:
        """Return the arrays of the values ``names``."""
        return {name: self.arrays[name] for name in names}


def known_of_layers(graph: ExposedGraph, layers: Values, what: str) -> Known:
    """Return the answers of the source's layers under the names of the graph's values.

    ``layers``: by the source's own names.  A value whose shape differs from the layer's answer is
    left out.
    """
    values = answers_of_layers(graph.model.graph)
    named = {layer: value for layer, value in values.items() if layer in layers}
    shapes = {name: np.shape(array) for name, array in graph.values(list(named.values())).items()}
    return Known(
        what,
        {
            value: layers[layer]
            for layer, value in named.items()
            if shapes[value] == np.shape(layers[layer])
        },
    )


class ExposedGraph:
    """A graph on one provider whose inner values can be read.

    ``open_session``: makes an onnxruntime session from a file.  ``feeds``: the inputs to run on.
    """

    def __init__(
        self,
        file: Path,
        open_session: Callable[[str], Any],
        feeds: Values,
        what: str = "",
    ):
        import onnx

        self.model = onnx.load(str(file))
        self.what, self._open, self._feeds = what, open_session, feeds
        self.names = [name for node in self.model.graph.node for name in node.output if name]

    def values(self, names: Sequence[str]) -> Values:
        """Return the arrays of the values ``names``."""
        if not names:  # onnxruntime reads an empty list as all outputs
            return {}
        import onnx

        exposed = onnx.ModelProto()
        exposed.CopyFrom(self.model)
        already = {each.name for each in exposed.graph.output}
        wanted = [onnx.ValueInfoProto(name=name) for name in names if name not in already]
        exposed.graph.output.extend(wanted)
        with temporary_folder("exposed") as folder:
            file = f"{folder}/exposed.onnx"
            onnx.save(exposed, file)
            session = self._open(file)
            found = session.run(list(names), dict(self._feeds))
        return dict(zip(names, found, strict=True))


def first_divergence(
    graph: ExposedGraph, reference: Reference, tolerance: float
) -> Divergence | None:
    """Return the node where ``graph`` leaves ``reference`` by more than ``tolerance``.

    ``tolerance``: a scaled error.  Returns None if no value that both know leaves it, or if both
    know none but the graph's inputs.
    """
    known = set(reference.names)
    shared = [name for name in graph.names if name in known]
    errors = _Errors(graph, reference)
    low, high = 0, len(shared)  # all before `low` agree; the first that differs is below `high`
    found: str | None = None
    while low < high:
        places = sorted({int(at) for at in np.linspace(low, high - 1, _AT_ONCE)})
        seen = errors.of([shared[at] for at in places])
        wrong = next((at for at in places if seen[shared[at]] > tolerance), None)
        if wrong is None:
            break
        found = shared[wrong]
        agreeing = [at for at in places if at < wrong]
        low, high = (agreeing[-1] + 1 if agreeing else low), wrong
    if found is None:
        return None
    makers = {name: node for node in graph.model.graph.node for name in node.output}
    found, between = _origin(makers, errors, found, known, tolerance)
    node = makers[found]
    layers = dict.fromkeys(filter(None, map(layer_of, reversed(between.nodes))))
    return Divergence(
        node=node.name or found,
        operator=node.op_type,
        layer=" or ".join(layers),
        output=found,
        error=errors.of([found])[found],
        error_before=max(errors.of(between.given).values(), default=0.0),
        reference=reference.what,
    )


def _origin(
    makers: Mapping[str, Any], errors: _Errors, found: str, known: set[str], tolerance: float
) -> tuple[str, _Between]:
    """Follow ``found`` back while a value that it is computed from is wrong already.

    Returns the first wrong value, and the nodes between it and the known values.
    """
    while True:
        between = _between(makers, found, known)
        wrong = [name for name, error in errors.of(between.given).items() if error > tolerance]
        if not wrong:
            return found, between
        found = wrong[0]


@dataclass(frozen=True)
class _Between:
    """The nodes that compute a value from known values, the last first; and those values."""

    nodes: Sequence[Any]
    given: Sequence[str]


def _between(makers: Mapping[str, Any], found: str, known: set[str]) -> _Between:
    given: list[str] = []
    nodes, seen, waiting = [], {found}, [found]
    while waiting:
        node = makers[waiting.pop(0)]
        nodes.append(node)
        for name in node.input:
            if name in makers and name not in seen:
                seen.add(name)
                (given if name in known else waiting).append(name)
    return _Between(nodes, given)


class _Errors:
    """The largest scaled error of values, each computed once."""

    def __init__(self, graph: ExposedGraph, reference: Reference):
        self._graph, self._reference = graph, reference
        self._seen: dict[str, float] = {}

    def of(self, names: Sequence[str]) -> dict[str, float]:
        new = [name for name in names if name not in self._seen]
        if new:
            found, wanted = self._graph.values(new), self._reference.values(new)
            for name in new:
                self._seen[name] = _error(wanted[name], found[name])
        return {name: self._seen[name] for name in names}


def _error(wanted: Any, found: Any) -> float:
    wanted, found = np.asarray(wanted), np.asarray(found)
    if wanted.shape != found.shape:
        return float("inf")
    return float(error_by_row(np.atleast_1d(wanted), np.atleast_1d(found)).max(initial=0.0))
