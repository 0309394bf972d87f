"""Run many rows in several pieces, and join the answers: one row out for each row in.

Inputs are split if the graph leaves their first axis open, or is made for a number of rows and was
given more.  An output that does not have a row for each row cannot be joined and is an error; so is
an output that depends on all rows at once, where the graph declares it.  A graph may not declare
it: a mean over the rows, declared with an axis of rows, would be one mean for each piece, and
nothing here can detect that.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Piece:
    """A part of the rows and the feeds that hold it."""

    rows: int
    feeds: Mapping[str, np.ndarray]


def split(
    session: Any, outputs: Sequence[str], feeds: Mapping[str, np.ndarray], size: int
) -> list[Piece]:
    """Return ``feeds`` in pieces of ``size`` rows; whole where they have no more, or ``size`` is 0.

    Raises ValueError where the inputs differ in their number of rows, or the ``outputs`` have no
    row for each row.
    """
    lengths = _rows_of(session, feeds) if size else {}
    rows = max(lengths.values(), default=0)
    if rows <= size or not size:
        return [Piece(rows, feeds)]
    for name, length in lengths.items():
        if length != rows:
            raise ValueError(
                f"params['batch_size'] splits rows, but {name!r} has {length} where others have"
                f" {rows}; give it no batch size"
            )
    _check_outputs(session, outputs, set(lengths))
    starts = range(0, rows, size)
    return [
        Piece(
            min(size, rows - start),
            {
                name: array[start : start + size] if name in lengths else array
                for name, array in feeds.items()
            },
        )
        for start in starts
    ]


def joined(name: str, parts: Sequence[tuple[int, Any]]) -> Any:
    """Return the joined answers of all pieces for the output ``name``.

    ``parts``: the number of rows and the answer of each piece.
    """
    for rows, part in parts:
        is_sequence = isinstance(part, list) and any(isinstance(each, np.ndarray) for each in part)
        if is_sequence or np.ndim(part) == 0 or len(part) != rows:
            raise ValueError(_not_rows(name))
    if isinstance(parts[0][1], np.ndarray):
        return np.concatenate([part for _, part in parts])
    return [row for _, part in parts for row in part]  # lists of maps


def _rows_of(session: Any, feeds: Mapping[str, np.ndarray]) -> dict[str, int]:
    """Return the number of rows of each input that is split by rows."""
    found = {}
    for each in session.get_inputs():
        array = feeds.get(each.name)
        if array is None or not np.ndim(array):
            continue
        first = each.shape[0] if each.shape else None
        if not isinstance(first, int) or first != len(array):
            found[each.name] = len(array)
    return found


def _check_outputs(session: Any, names: Sequence[str], of_rows: set[str]) -> None:
    shapes = [each.shape for each in session.get_inputs() if each.name in of_rows and each.shape]
    firsts = {shape[0] for shape in shapes}
    others = {size for shape in shapes for size in shape[1:]}  # "?" may be the name of every axis
    axes = {first for first in firsts - others if isinstance(first, str)}
    for each in session.get_outputs():
        if each.name not in names or not each.shape:
            continue
        is_fixed = isinstance(each.shape[0], int) and each.shape[0] not in firsts
        if is_fixed or axes & set(each.shape[1:]):
            raise ValueError(_not_rows(each.name))


def _not_rows(name: str) -> str:
    return (
        f"the output {name!r} has not a row of its own for each row, so that it cannot be put"
        " together from pieces; give params no 'batch_size'"
    )
