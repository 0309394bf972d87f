"""PyTorch's LSTM with projections, unrolled step by step: ONNX's LSTM has no projections."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from onnxscript.function_libs.torch_lib.ops.core import aten_lstm
from torch.ops import aten

from mlflow_onnx_flavor.frameworks.pytorch.operators.parts import fixed_size, integers, op, part


def recurrent_translations() -> dict[Any, Callable[..., Any]]:
    """Return these operators' part of the table that `table.translations` returns."""
    return {aten.lstm.input: _lstm}


def _lstm(input, hx, params, has_biases, num_layers, dropout, train, bidirectional, batch_first):
    given = (input, hx, params, has_biases, num_layers, dropout, train, bidirectional, batch_first)
    directions = 2 if bidirectional else 1
    plain = 4 if has_biases else 2
    if len(params) == plain * num_layers * directions:
        return aten_lstm(*given)
    steps = fixed_size(input, 1 if batch_first else 0, "an LSTM with projections")
    x = op.Transpose(input, perm=[1, 0, 2]) if batch_first else input
    hidden, cells = [], []
    for layer in range(num_layers):
        found = []
        for direction in range(directions):
            number = layer * directions + direction
            weights = params[number * (plain + 1) : (number + 1) * (plain + 1)]
            state = [op.Squeeze(part(each, number, number + 1, 0), integers(0)) for each in hx]
            outputs, h, c = _direction(x, state, weights, steps, reverse=direction == 1)
            found.append(outputs)
            hidden.append(h)
            cells.append(c)
        x = op.Concat(*found, axis=-1) if directions == 2 else found[0]
    outputs = op.Transpose(x, perm=[1, 0, 2]) if batch_first else x
    return outputs, _stacked(hidden), _stacked(cells)


def _direction(x, state, weights, steps, reverse):
    """Return the outputs, of shape (steps, rows, projected), the last hidden state and cell."""
    of_inputs, of_hidden, *biases, projection = weights
    size = projection.shape[1]
    h, c = state
    from_inputs = op.MatMul(x, op.Transpose(of_inputs, perm=[1, 0]))
    for bias in biases:
        from_inputs = op.Add(from_inputs, bias)
    of_hidden = op.Transpose(of_hidden, perm=[1, 0])
    projection = op.Transpose(projection, perm=[1, 0])
    found = []
    for step in reversed(range(steps)) if reverse else range(steps):
        gates = op.Squeeze(part(from_inputs, step, step + 1, 0), integers(0))
        gates = op.Add(gates, op.MatMul(h, of_hidden))
        taken, kept, new, shown = (
            part(gates, number * size, (number + 1) * size, -1) for number in range(4)
        )
        c = op.Add(op.Mul(op.Sigmoid(kept), c), op.Mul(op.Sigmoid(taken), op.Tanh(new)))
        h = op.MatMul(op.Mul(op.Sigmoid(shown), op.Tanh(c)), projection)
        found.append(h)
    return _stacked(found[::-1] if reverse else found), h, c


def _stacked(values):
    values = [op.Unsqueeze(each, integers(0)) for each in values]
    return op.Concat(*values, axis=0)
