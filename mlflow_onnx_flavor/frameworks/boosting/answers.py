"""The answers of boosters and of their wrappers as graph outputs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mlflow_onnx_flavor.onnx_graph.builder import GraphParts, as_model, label_dtype
from mlflow_onnx_flavor.onnx_graph.edit import save

LABEL, PROBABILITIES, PREDICTION = "label", "probabilities", "prediction"

# Name -> (numpy dtype, shape), None where an axis is free.
Typed = dict[str, tuple[Any, list[int | None]]]


@dataclass(frozen=True)
class Value:
    """A value in the graph: its name there, its numpy dtype, and its columns (0: no such axis)."""

    name: str
    dtype: Any
    columns: int


def both_classes(parts: GraphParts, second: str) -> str:
    """Probabilities of both classes, (rows, 2), from the second's, (rows, 1); any float dtype."""
    one = parts.add("CastLike", parts.constant(1.0, np.float64), second)
    return parts.add("Concat", parts.add("Sub", one, second), second, axis=1)


def answered(parts: GraphParts, value: str, columns: int, dtype: Any) -> Value:
    """The value of shape (rows, columns) as it is answered: one number a row without an axis."""
    if columns == 1:
        return Value(flat(parts, value), dtype, 0)
    return Value(value, dtype, columns)


def flat(parts: GraphParts, column: str) -> str:
    """The values of shape (rows, 1) as (rows,)."""
    return parts.add("Reshape", column, parts.constant([-1], np.int64))


def label_at(parts: GraphParts, positions: str, classes: Any) -> Value:
    """The class at each of ``positions``, int64 of shape (rows,)."""
    return Value(parts.label_of(positions, classes), label_dtype(classes), 0)


def write(
    parts: GraphParts, path: Path, inputs: Typed, answers: Mapping[str, Value]
) -> tuple[str, ...]:
    """Write a model that gives ``answers`` by name; returns the names in order."""
    outputs: Typed = {}
    for name, value in answers.items():
        parts.add("Identity", value.name, output=name)
        outputs[name] = (value.dtype, [None, value.columns] if value.columns else [None])
    return save(as_model(parts, inputs, outputs), path, {name: name for name in outputs})
