"""LSTM, GRU and RNN, by torch's own layers, whose gates have another order."""

from __future__ import annotations

import torch

from mlflow_onnx_flavor.errors import UnsupportedModelError
from mlflow_onnx_flavor.targets.pytorch.node import Node

Tensor = torch.Tensor

# Positions of torch's gates among ONNX's: LSTM i o f c -> i f c o; GRU z r h -> r z h.
_GATES = {"LSTM": [0, 2, 3, 1], "GRU": [1, 0, 2], "RNN": [0]}
_ACTIVATIONS = {
    "LSTM": ["Sigmoid", "Tanh", "Tanh"],
    "GRU": ["Sigmoid", "Tanh"],
    "RNN": ["Tanh"],
}


def _recurrent(
    node: Node,
    rows: Tensor,
    weight: Tensor,
    recurrence: Tensor,
    bias: Tensor | None = None,
    lengths: Tensor | None = None,
    hidden: Tensor | None = None,
    cell: Tensor | None = None,
    peepholes: Tensor | None = None,
) -> tuple[Tensor, ...]:
    kind, directions = node.op_type, weight.shape[0]
    _check(node, lengths, peepholes, directions)
    size, gates = node.get("hidden_size"), _GATES[kind]
    if node.get("layout", 0):
        rows = rows.transpose(0, 1)
    reverse = node.get("direction", "forward") == "reverse"
    rows = rows.flip(0) if reverse else rows
    batch = rows.shape[1]
    zeros = torch.zeros(directions, batch, size, dtype=rows.dtype)
    hidden = zeros if hidden is None else hidden
    cell = zeros if cell is None else cell
    parameters = []
    for direction in range(directions):
        parameters += [_ordered(each[direction], size, gates) for each in (weight, recurrence)]
        both = (
            torch.zeros(2 * len(gates) * size, dtype=rows.dtype)
            if bias is None
            else bias[direction]
        )
        parameters += [_ordered(each, size, gates) for each in both.chunk(2)]
    settings = (True, 1, 0.0, False, directions == 2, False)
    if kind == "LSTM":
        answer, last, last_cell = torch.lstm(rows, (hidden, cell), parameters, *settings)
    elif kind == "GRU":
        answer, last = torch.gru(rows, hidden, parameters, *settings)
    else:
        answer, last = torch.rnn_tanh(rows, hidden, parameters, *settings)
    answer = answer.flip(0) if reverse else answer
    steps = answer.shape[0]
    answer = answer.reshape(steps, batch, directions, size).transpose(1, 2)
    if node.get("layout", 0):
        answer, last = answer.permute(2, 0, 1, 3), last.transpose(0, 1)
    return (answer, last, last_cell) if kind == "LSTM" else (answer, last)


def _check(node: Node, lengths: Tensor | None, peepholes: Tensor | None, directions: int) -> None:
    usual = _ACTIVATIONS[node.op_type] * directions
    asked = node.get("activations") or usual
    why = ""
    if lengths is not None:
        why = "has rows of several lengths"
    elif peepholes is not None or node.get("input_forget", 0) or node.get("clip"):
        why = "has peepholes, coupled gates or clipping"
    elif [each.lower() for each in asked] != [each.lower() for each in usual]:
        why = f"has the activations {', '.join(asked)}"
    elif node.op_type == "GRU" and not node.get("linear_before_reset", 0):
        why = "resets before the product"
    if why:
        raise UnsupportedModelError(
            f"the operator {node.op_type} (node {node.name!r}) {why}; it runs in ONNX Runtime"
        )


def _ordered(parameter: Tensor, size: int, gates: list[int]) -> Tensor:
    parts = parameter.split(size)
    return torch.cat([parts[each] for each in gates])


RULES = {"GRU": _recurrent, "LSTM": _recurrent, "RNN": _recurrent}
