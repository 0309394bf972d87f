"""The sizes just outside of those for which `torch.onnx.export` made its graph.

The exporter silently decides questions about sizes by the example: a branch such as
``if x.shape[1] > 6`` becomes the arm that the example takes, together with a range of sizes for
which the graph is assumed to be correct.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any


def edges(program: Any) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return the sizes just outside of the ranges that ``program`` assumes.

    The first tuple holds sizes of batches, the second sizes of other axes.  ``program`` is the
    result of torch.onnx.export, or None if the export made none.
    """
    if program is None:
        return (), ()
    batches: list[int] = []
    others: list[int] = []
    batch_symbols = {str(each) for each in _batch_symbols(program.exported_program)}
    for symbol, found in program.exported_program.range_constraints.items():
        sizes = batches if str(symbol) in batch_symbols else others
        if found.lower.is_Integer and int(found.lower) > 1:
            sizes.append(int(found.lower) - 1)
        if found.upper.is_Integer:
            sizes.append(int(found.upper) + 1)
    return tuple(batches), tuple(others)


def _batch_symbols(program: Any) -> Iterator[Any]:
    user_inputs = set(program.graph_signature.user_inputs)
    for node in program.graph.nodes:
        if node.op == "placeholder" and node.name in user_inputs and len(node.meta["val"].shape):
            yield node.meta["val"].shape[0]
