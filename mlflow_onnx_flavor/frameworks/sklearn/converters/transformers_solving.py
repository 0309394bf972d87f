"""Transformers that solve a small problem for each row, and their shared solver."""

from __future__ import annotations

from typing import Any

import numpy as np

from mlflow_onnx_flavor.errors import NotExportableError
from mlflow_onnx_flavor.frameworks.sklearn.converters.transformers_graph import Rows, Rule
from mlflow_onnx_flavor.frameworks.sklearn.converters.transformers_graph import register as _take

_MOST_ATOMS = 32  # each atom adds a round to the graph, and a round's size grows with its number


def register() -> None:
    """Register this file's converters with skl2onnx."""
    from sklearn import decomposition

    rule = Rule(_coded, float64=True, width=_coded_width)
    _take(
        {
            decomposition.DictionaryLearning: rule,
            decomposition.MiniBatchDictionaryLearning: rule,
            decomposition.SparseCoder: rule,
        }
    )


def solved(rows: Rows, matrix: str, right: str, size: int) -> str:
    """Return the solution of ``matrix`` x = ``right`` for each row.

    ``matrix``: shape (rows, size, size), symmetric positive definite; ``right``: shape (rows,
    size).  Elimination without pivoting is stable for such matrices.
    """
    system = rows.add("Concat", matrix, rows.reshape(right, -1, size, 1), axis=2)
    for at in range(size):
        unit = np.zeros((1, size, 1))
        unit[0, at, 0] = 1.0
        pivot_row = rows.add("Gather", system, rows.whole([at]), axis=1)
        pivot = rows.add("Gather", pivot_row, rows.whole([at]), axis=2)
        pivot_row = rows.op("Div", pivot_row, pivot)
        column = rows.add("Gather", system, rows.whole([at]), axis=2)
        # The pivot's own row becomes the divided one; a multiple of it is subtracted from the
        # others.
        share = rows.op("Sub", column, unit)
        system = rows.op("Sub", system, rows.op("Mul", share, pivot_row))
    return rows.reshape(rows.add("Gather", system, rows.whole([size]), axis=2), -1, size)


def _dictionary(model: Any) -> np.ndarray:
    return np.asarray(getattr(model, "components_", getattr(model, "dictionary", None)), np.float64)


def _coded_width(model: Any) -> int:
    return len(_dictionary(model)) * (2 if model.split_sign else 1)


def _coded(rows: Rows, model: Any, matrix: str) -> str:
    atoms = _dictionary(model)
    correlation = rows.op("MatMul", matrix, atoms.T)
    if model.transform_algorithm == "threshold":
        code = _soft_threshold(rows, model, correlation)
    elif model.transform_algorithm == "omp":
        code = _matching_pursuit(rows, model, correlation, atoms)
    else:
        raise NotExportableError(
            f"{type(model).__name__}(transform_algorithm={model.transform_algorithm!r}) iterates"
            " until it converges, which has no ONNX form here; use 'omp' or 'threshold'"
        )
    if model.split_sign:
        positive = rows.op("Max", code, 0.0)
        negative = rows.op("Max", rows.add("Neg", code), 0.0)
        code = rows.joined([positive, negative])
    return code


def _soft_threshold(rows: Rows, model: Any, correlation: str) -> str:
    alpha = model.transform_alpha
    if alpha is None:
        alpha = getattr(model, "alpha", None)
    alpha = 1.0 if alpha is None else alpha
    shrunk = rows.op("Max", rows.op("Sub", rows.add("Abs", correlation), alpha), 0.0)
    code = rows.op("Mul", rows.add("Sign", correlation), shrunk)
    return rows.op("Max", code, 0.0) if model.positive_code else code


def _matching_pursuit(rows: Rows, model: Any, correlation: str, atoms: np.ndarray) -> str:
    """Return the code by orthogonal matching pursuit.

    Each round takes one more atom and solves all coefficients anew.  A row stops if nothing is left
    to explain, or if its next atom depends on those it has.
    """
    components, features = atoms.shape
    wanted = model.transform_n_nonzero_coefs
    wanted = int(min(max(features / 10, 1), components) if wanted is None else wanted)
    if wanted > _MOST_ATOMS:
        raise NotExportableError(
            f"{type(model).__name__} takes {wanted} atoms for each row, more than the"
            f" {_MOST_ATOMS} that are written out in ONNX; use fewer transform_n_nonzero_coefs"
        )
    gram = atoms @ atoms.T
    least = np.finfo(np.float64).eps
    left, code, going = correlation, "", ""
    taken: list[str] = []  # for each round 1 at its atom, 0 elsewhere; all 0 in rows that stopped
    for number in range(1, wanted + 1):
        size = rows.add("Abs", left)
        best = rows.add("ArgMax", size, axis=1, keepdims=1)
        chosen = rows.op(
            "Equal", rows.cast(best, rows.dtype), np.arange(components, dtype=np.float64)
        )
        unit = rows.truth(chosen)
        largest = rows.reduce("ReduceMax", size)
        more = rows.op("GreaterOrEqual", rows.op("Mul", largest, largest), least)
        if taken:
            before = rows.reduce("ReduceSum", rows.op("Mul", unit, _total(rows, taken)))
            more = rows.add("And", more, rows.op("Equal", before, 0.0))
            more = rows.add("And", more, _independent(rows, taken, unit, gram, least))
            more = rows.add("And", more, going)
        going = more
        taken.append(rows.op("Mul", unit, rows.truth(more)))
        code = _least_squares(rows, taken, correlation, gram, number, components)
        left = rows.op("Sub", correlation, rows.op("MatMul", code, gram))
    return code


def _total(rows: Rows, values: list[str]) -> str:
    return values[0] if len(values) == 1 else rows.add("Sum", *values)


def _stacked(rows: Rows, taken: list[str], components: int) -> str:
    return rows.joined([rows.reshape(each, -1, 1, components) for each in taken])


def _least_squares(
    rows: Rows, taken: list[str], correlation: str, gram: np.ndarray, number: int, components: int
) -> str:
    """Return the coefficients of the atoms taken, each in its column; a stopped round adds none."""
    picks = _stacked(rows, taken, components)  # rows, rounds, components
    across = rows.add("Transpose", picks, perm=[0, 2, 1])
    inner = rows.add("MatMul", rows.op("MatMul", picks, gram), across)
    used = rows.reduce("ReduceSum", picks, axis=2)  # rows, rounds, 1
    unused = rows.op("Mul", rows.op("Sub", 1.0, used), np.eye(number))
    wanted = rows.add("MatMul", picks, rows.reshape(correlation, -1, components, 1))
    found = solved(rows, rows.op("Add", inner, unused), rows.reshape(wanted, -1, number), number)
    return rows.reshape(
        rows.add("MatMul", rows.reshape(found, -1, 1, number), picks), -1, components
    )


def _independent(rows: Rows, taken: list[str], unit: str, gram: np.ndarray, least: float) -> str:
    """Return whether the atom at ``unit`` is linearly independent of the atoms taken before."""
    components, number = len(gram), len(taken)
    toward = rows.op("MatMul", unit, gram)
    explained = _least_squares(rows, taken, toward, gram, number, components)
    own = rows.reduce("ReduceSum", rows.op("Mul", toward, unit))
    part = rows.reduce("ReduceSum", rows.op("Mul", explained, toward))
    return rows.op("Greater", rows.op("Sub", own, part), least)
