"""Rows of token numbers, shape (texts, tokens), padded with 0 at their ends."""

from __future__ import annotations

from mlflow_onnx_flavor.frameworks.sklearn.converters.transformers_graph import Rows

BREAK = -5  # a break between words: no n-gram of characters crosses it
_LAST = 2**60


def compacted(rows: Rows, ids: str, removed: str) -> str:
    """Return ``ids`` without those that ``removed`` marks; the rest moves up, followed by 0."""
    emptied = rows.add("Where", removed, rows.whole(0), ids)
    return rows.add("GatherElements", emptied, kept_first(rows, removed), axis=1)


def kept_first(rows: Rows, removed: str) -> str:
    """Return the order of each row's tokens that puts those that ``removed`` marks last."""
    ones = rows.cast(rows.add("Or", removed, rows.add("Not", removed)), "int64")
    position = rows.add("CumSum", ones, rows.constant(1, "int64"))
    key = rows.add("Where", removed, rows.whole(_LAST), position)
    return rows.smallest(key, rows.add("Shape", removed, start=1, end=2))[1]


def collapsed_spaces(rows: Rows, ids: str, spaces: str, space: int) -> str:
    """Replace each run of two or more of ``spaces`` by one ``space``."""
    before, after = preceding(rows, spaces), following(rows, spaces)
    run = rows.add("And", spaces, rows.add("Or", before, after))
    ids = rows.add("Where", run, rows.whole(space), ids)
    return compacted(rows, ids, rows.add("And", spaces, before))


def padded_words(rows: Rows, ids: str, between: str, space: int) -> str:
    """Replace each word by: break, space, word, space, break; ``between`` marks the gaps."""
    inside = rows.add("Not", between)
    first = rows.add("And", inside, rows.add("Not", preceding(rows, inside)))
    last = rows.add("And", inside, rows.add("Not", following(rows, inside)))
    slots = [(first, BREAK), (first, space), (inside, None), (last, space), (last, BREAK)]
    values, removed = [], []
    for present, value in slots:
        own = ids if value is None else rows.add("Where", present, rows.whole(value), ids)
        values.append(rows.reshape(own, 0, 0, 1))
        removed.append(rows.reshape(rows.add("Not", present), 0, 0, 1))
    spread, gone = (
        rows.reshape(rows.add("Concat", *each, axis=2), 0, -1) for each in (values, removed)
    )
    return compacted(rows, spread, gone)


def preceding(rows: Rows, flags: str) -> str:
    """Return the flag of the token before each; false at the start."""
    return rows.add("Concat", _no(rows, flags), _slice(rows, flags, 0, -1), axis=1)


def following(rows: Rows, flags: str) -> str:
    """Return the flag of the token after each; false at the end."""
    return rows.add("Concat", _slice(rows, flags, 1, _LAST), _no(rows, flags), axis=1)


def _no(rows: Rows, flags: str) -> str:
    """Return one column of false."""
    first = _slice(rows, flags, 0, 1)
    return rows.add("And", first, rows.add("Not", first))


def _slice(rows: Rows, flags: str, start: int, stop: int) -> str:
    return rows.add("Slice", flags, rows.whole([start]), rows.whole([stop]), rows.whole([1]))
