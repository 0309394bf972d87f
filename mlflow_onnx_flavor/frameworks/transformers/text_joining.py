"""Joining texts along an axis, for which ONNX has no single operator."""

from __future__ import annotations

from collections.abc import Sequence

import onnx
from onnx import TensorProto, helper

SEPARATOR = ","


def join_texts(graph: onnx.GraphProto, positions: str, texts: Sequence[str], joined: str) -> None:
    """Add nodes that compute ``joined``, shape (rows,): in each row some of ``texts``, with commas.

    ``positions``, integers of shape (rows, columns), are the indices of the texts that are joined.
    The empty text is left out; so is the index one past the last.
    """

    def constant(name: str, kind: int, shape: Sequence[int], values: Sequence) -> None:
        graph.initializer.append(helper.make_tensor(name, kind, shape, values))

    pieces = [each.encode() for each in (*texts, "")]
    constant("_all_texts", TensorProto.STRING, [len(pieces)], pieces)
    constant("_last_text", TensorProto.INT64, [], [len(texts)])
    constant("_no_text", TensorProto.STRING, [], [b""])
    constant("_separator", TensorProto.STRING, [], [SEPARATOR.encode()])
    constant("_column_axis", TensorProto.INT64, [], [1])
    graph.node.extend(
        [
            helper.make_node("Gather", ["_all_texts", positions], ["_pieces"], axis=0),
            helper.make_node("Shape", [positions], ["_rows"], start=0, end=1),
            helper.make_node("Shape", [positions], ["_shape"]),
            helper.make_node("Gather", ["_shape", "_column_axis"], ["_columns"], axis=0),
            # Expand an index, not the text: OpenVINO fails to compile an Expand of text.
            helper.make_node("Expand", ["_last_text", "_rows"], ["_last_texts"]),
            helper.make_node("Gather", ["_all_texts", "_last_texts"], ["_empty"], axis=0),
            helper.make_node("Loop", ["_columns", "", "_empty"], [joined], body=_one_column()),
        ]
    )


def _one_column() -> onnx.GraphProto:
    """Return the body of the loop, which appends the texts of one column to those joined so far."""
    nodes = [
        helper.make_node("Gather", ["_pieces", "_column"], ["_piece"], axis=1),
        helper.make_node("Equal", ["_piece", "_no_text"], ["_adds_nothing"]),
        helper.make_node("Equal", ["_so_far", "_no_text"], ["_is_first"]),
        helper.make_node("Or", ["_adds_nothing", "_is_first"], ["_stands_alone"]),
        helper.make_node("Where", ["_stands_alone", "_no_text", "_separator"], ["_between"]),
        helper.make_node("StringConcat", ["_so_far", "_between"], ["_begun"]),
        helper.make_node("StringConcat", ["_begun", "_piece"], ["_longer"]),
        helper.make_node("Identity", ["_go_on"], ["_still"]),
    ]
    return helper.make_graph(
        nodes,
        "join_one_column",
        [
            helper.make_tensor_value_info("_column", TensorProto.INT64, []),
            helper.make_tensor_value_info("_go_on", TensorProto.BOOL, []),
            helper.make_tensor_value_info("_so_far", TensorProto.STRING, [None]),
        ],
        [
            helper.make_tensor_value_info("_still", TensorProto.BOOL, []),
            helper.make_tensor_value_info("_longer", TensorProto.STRING, [None]),
        ],
    )
