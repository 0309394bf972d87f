"""Simplification of the graph of `torch.onnx.export`, without changing a bit of any output.

The exporter's own optimizer is switched off: its rules compare constants with a tolerance, so that
`x + 1e-9` becomes `x`, and a guard against division by zero is lost.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

# Operators whose results numpy and a runtime compute alike to the last bit: they move, select or
# compare numbers, or round once.
_EXACT_ON_FLOATS = frozenset(
    ("Cast", "CastLike", "Identity", "Shape", "Size", "Reshape", "Squeeze", "Unsqueeze", "Flatten")
    + ("Transpose", "Concat", "Split", "Slice", "Gather", "GatherElements", "Expand", "Tile")
    + ("Where", "Neg", "Abs", "Add", "Sub", "Mul", "Div", "Sqrt", "Floor", "Ceil", "Sign")
    + ("Equal", "Less", "LessOrEqual", "Greater", "GreaterOrEqual", "IsNaN", "IsInf")
    + ("Max", "Min", "ConstantOfShape", "Pad", "Trilu", "Not")
)

# No value of an exported graph begins so.
_BEFORE_NAMED = "__output_"


def simplify(model: Any, inputs: Sequence[str], outputs: Sequence[str]) -> None:
    """Fold constants and remove unused and repeated nodes of ``model``, an onnx_ir.Model, in place.

    1. Functions are inlined, so that the other passes see every node.
    2. Constants are folded if numpy and every runtime compute the same result.
    3. Nodes without an effect are removed by structure, never by the value of a float.
    """
    from onnx_ir.passes import Sequential, common
    from onnxscript.optimizer import fold_constants

    common.InlinePass()(model)
    for _ in range(2):
        fold_constants(model, onnx_shape_inference=True, should_fold=_exactly)
    Sequential(
        common.RemoveUnusedNodesPass(),
        common.RemoveUnusedFunctionsPass(),
        common.RemoveUnusedOpsetsPass(),
        common.LiftConstantsToInitializersPass(lift_all_constants=True, size_limit=0),
        common.LiftSubgraphInitializersToMainGraphPass(),
        common.DeduplicateInitializersPass(),
        common.CommonSubexpressionEliminationPass(),
        common.OutputFixPass(),
        common.NameFixPass(),
    )(model)
    _name(model.graph.inputs, inputs)
    _name(model.graph.outputs, outputs)


def _name(values: Sequence[Any], names: Sequence[str]) -> None:
    """Give the graph's inputs or outputs their names.

    The exporter names an input that is returned as it is after the output, and a pass that finds
    two outputs equal may name one after the other.
    """
    for position, value in enumerate(values):
        value.name = f"{_BEFORE_NAMED}{position}"  # two may have each other's name
    for value, name in zip(values, names, strict=True):
        value.name = name


def _exactly(node: Any) -> bool | None:
    """Return False if folding ``node`` could round differently from a runtime, else None.

    None leaves the decision to onnxscript.
    """
    if node.op_type in _EXACT_ON_FLOATS:
        return None
    values = (*node.inputs, *node.outputs)
    floats = any(
        each is not None and each.dtype is not None and each.dtype.is_floating_point()
        for each in values
    )
    return False if floats else None
