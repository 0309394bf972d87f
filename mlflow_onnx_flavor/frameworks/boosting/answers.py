"""The outputs of boosters and of their scikit-learn wrappers, as graph outputs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mlflow_onnx_flavor.onnx_graph.builder import GraphParts, as_model, label_dtype
from mlflow_onnx_flavor.onnx_graph.edit import save

LABEL, PROBABILITIES, PREDICTION = "label", "probabilities", "prediction"

# Output name -> (numpy dtype, shape); an axis of any length is None.
Typed = dict[str, tuple[Any, list[int | None]]]


@dataclass(frozen=True)
class Value:
    """A value in the graph: its name there, its numpy dtype, and its columns (0: no such axis)."""

    name: str
    dtype: Any
    columns: int


def both_classes(parts: GraphParts, second: str) -> str:
    """Return the probabilities of both classes, (rows, 2), from the second's, (rows, 1).

    The probabilities keep their dtype, which may be any float.
    """
    one = parts.add("CastLike", parts.constant(1.0, np.float64), second)
    return parts.add("Concat", parts.add("Sub", one, second), second, axis=1)


def answered(parts: GraphParts, value: str, columns: int, dtype: Any) -> Value:
    """Return the value of shape (rows, columns) as an output; one column becomes shape (rows,)."""
    if columns == 1:
        return Value(flat(parts, value), dtype, 0)
    return Value(value, dtype, columns)


def flat(parts: GraphParts, column: str) -> str:
    """Return the values of shape (rows, 1) as values of shape (rows,)."""
    return parts.add("Reshape", column, parts.constant([-1], np.int64))


def label_at(parts: GraphParts, positions: str, classes: Any) -> Value:
    """Return the class at each of ``positions``, int64 of shape (rows,)."""
    return Value(parts.label_of(positions, classes), label_dtype(classes), 0)


def write(
    parts: GraphParts, path: Path, inputs: Typed, answers: Mapping[str, Value]
) -> tuple[str, ...]:
    """Write a model with the outputs ``answers``, by name, and return the names in order."""
    outputs: Typed = {}
    for name, value in answers.items():
        parts.add("Identity", value.name, output=name)
        outputs[name] = (value.dtype, [None, value.columns] if value.columns else [None])
    return save(as_model(parts, inputs, outputs), path, {name: name for name in outputs})
