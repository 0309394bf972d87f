"""The statistics of categories (CTRs) in CatBoost's own file format, CBM.

CatBoost's JSON holds them too, but mixes up the tables of several targets.  A CBM file is a
flatbuffer with the trees and the CTRs that they use, followed by the tables of counters, one
flatbuffer each.  CatBoost's published schema (``catboost/libs/model/flatbuffers``) numbers the
fields.
"""

from __future__ import annotations

import struct
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mlflow_onnx_flavor.errors import NotExportableError

MEANS = ("BinarizedTargetMeanValue", "FloatTargetMeanValue")
FREQUENCIES = ("Counter", "FeatureFreq")
# The order is that of CatBoost's own numbers for them.
KINDS = ("Borders", "Buckets", *MEANS, *FREQUENCIES)

_MAGIC = b"CBM1"
_BUCKET = np.dtype([("key", "<u8"), ("entry", "<u4")])
_EMPTY = np.uint64(2**64 - 1)


@dataclass(frozen=True)
class Base:
    """The quantity that CTRs count.

    ``kind``, one of KINDS, is counted for a combination of ``categories`` (features), ``borders``
    (feature and border) and ``values`` (feature and hash).  ``target``: the number of the division
    of the target into classes.
    """

    kind: str
    categories: tuple[int, ...]
    borders: tuple[tuple[int, float], ...]
    values: tuple[tuple[int, int], ...]
    target: int


@dataclass(frozen=True)
class Ctr:
    """The formula that makes a number of counters, with float32 parameters.

    ``border``: the number of the target's border.
    """

    base: Base
    border: int
    prior: np.float32
    prior_weight: np.float32
    shift: np.float32
    scale: np.float32


@dataclass(frozen=True)
class Counters:
    """The counters of one `Base`.

    ``keys``: uint64 of shape (entries,).  ``counts``: shape (entries, classes); for FREQUENCIES
    shape (entries, 1), with a ``total``; for MEANS the columns are the sum and the count.
    """

    keys: np.ndarray
    counts: np.ndarray
    total: int


def stored(model: Any) -> tuple[list[Ctr], dict[Base, Counters]]:
    """Return the CTRs of a CatBoost estimator, in its own order, and the counters of each base."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.cbm"
        model.save_model(str(path), format="cbm")
        content = path.read_bytes()
    try:
        return _read(content)
    except (struct.error, IndexError, ValueError) as error:
        raise NotExportableError(
            "this version of CatBoost stores the statistics of categories in a way that is not"
            f" known here ({error}); install catboost 1.2 and log the model again"
        ) from error


def _read(content: bytes) -> tuple[list[Ctr], dict[Base, Counters]]:
    if content[:4] != _MAGIC:
        raise ValueError(f"the file begins with {content[:4]!r}")
    core, at = _sized(content, 4)
    trees = _root(core).record(1)
    ctrs = [_ctr(each.record(0)) for each in trees.records(7)]
    tables: dict[Base, Counters] = {}
    if ctrs:
        (count,) = struct.unpack_from("<I", content, at)
        at += 4
        for _ in range(count):
            table, at = _sized(content, at)
            base, counters = _counters(_root(table))
            tables[base] = counters
    return ctrs, tables


def _sized(content: bytes, at: int) -> tuple[bytes, int]:
    """Return the part that begins at ``at`` with its size, and the position of its end."""
    (size,) = struct.unpack_from("<I", content, at)
    end = at + 4 + size
    if end > len(content):
        raise ValueError("the file ends too early")
    return content[at + 4 : end], end


@dataclass(frozen=True)
class _Record:
    """A table of a flatbuffer; its list of offsets gives the place of each present field."""

    content: bytes
    start: int

    def _place(self, field: int) -> int | None:
        offsets = self.start - struct.unpack_from("<i", self.content, self.start)[0]
        (size,) = struct.unpack_from("<H", self.content, offsets)
        if 4 + 2 * field >= size:
            return None
        (offset,) = struct.unpack_from("<H", self.content, offsets + 4 + 2 * field)
        return self.start + offset if offset else None

    def _pointed(self, field: int) -> int | None:
        place = self._place(field)
        if place is None:
            return None
        return place + struct.unpack_from("<I", self.content, place)[0]

    def number(self, field: int, form: str, default: float = 0) -> Any:
        place = self._place(field)
        return default if place is None else struct.unpack_from(form, self.content, place)[0]

    def record(self, field: int) -> _Record:
        place = self._pointed(field)
        if place is None:
            raise ValueError(f"field {field} is missing")
        return _Record(self.content, place)

    def array(self, field: int, dtype: Any) -> np.ndarray:
        place = self._pointed(field)
        if place is None:
            return np.zeros(0, dtype)
        (length,) = struct.unpack_from("<I", self.content, place)
        return np.frombuffer(self.content, dtype, length, place + 4)

    def records(self, field: int) -> Iterator[_Record]:
        place = self._pointed(field)
        for at, offset in enumerate(self.array(field, "<u4").tolist()):
            assert place is not None  # or the array is empty
            yield _Record(self.content, place + 4 + 4 * at + offset)


def _root(content: bytes) -> _Record:
    return _Record(content, struct.unpack_from("<I", content, 0)[0])


def _base(record: _Record) -> Base:
    combination = record.record(0)
    split = [("feature", "<i4"), ("value", "<f4")]
    exact = [("feature", "<i4"), ("value", "<i4")]
    return Base(
        kind=KINDS[record.number(1, "<b")],
        categories=tuple(combination.array(0, "<i4").tolist()),
        borders=tuple(combination.array(1, split).tolist()),
        values=tuple(combination.array(2, exact).tolist()),
        target=record.number(2, "<i"),
    )


def _ctr(record: _Record) -> Ctr:
    floats = [record.number(at, "<f", default) for at, default in ((2, 0), (3, 1), (4, 0), (5, 1))]
    return Ctr(_base(record.record(0)), record.number(1, "<i"), *map(np.float32, floats))


def _counters(record: _Record) -> tuple[Base, Counters]:
    base = _base(record.record(0))
    buckets = record.array(1, "u1").view(_BUCKET)
    buckets = buckets[buckets["key"] != _EMPTY]
    counts = record.array(2, "u1")
    if base.kind in MEANS:
        both = counts.view([("sum", "<f4"), ("count", "<i4")])
        counts = np.stack([both["sum"].astype(np.float64), both["count"]], axis=1)
    else:
        classes = 1 if base.kind in FREQUENCIES else record.number(4, "<i")
        counts = counts.view("<i4").reshape(-1, classes)
    return base, Counters(buckets["key"], counts[buckets["entry"]], record.number(3, "<i"))
