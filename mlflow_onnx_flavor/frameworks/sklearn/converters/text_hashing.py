"""HashingVectorizer: every n-gram adds to the column that its hash selects.

onnxruntime's MurmurHash3 is scikit-learn's hash.  The matrix, sparse in scikit-learn, is dense
here.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from mlflow_onnx_flavor.errors import NotExportableError
from mlflow_onnx_flavor.frameworks.sklearn.converters.text_patterns import whitespace
from mlflow_onnx_flavor.frameworks.sklearn.converters.text_sequences import (
    following,
    kept_first,
    preceding,
)
from mlflow_onnx_flavor.frameworks.sklearn.converters.text_tokens import (
    among,
    lowered,
    tokens,
    word_tokens,
)
from mlflow_onnx_flavor.frameworks.sklearn.converters.transformers_graph import (
    CONTRIB,
    Column,
    Rows,
    Rule,
)
from mlflow_onnx_flavor.frameworks.sklearn.converters.transformers_graph import register as _take
from mlflow_onnx_flavor.frameworks.sklearn.converters.transformers_scaling import norm_divided

_MOST_COLUMNS = 2**20  # at most 4 MB per row
# It pads the rows of tokens: it is no single character, and with its space no word.
_PAD = "\ue000 \ue000"


def register() -> None:
    """Register this file's converters with skl2onnx."""
    from sklearn.feature_extraction.text import HashingVectorizer

    _take({HashingVectorizer: Rule(_hashed, by_column=True, width=lambda model: model.n_features)})


def _hashed(rows: Rows, model: Any, columns: list[Column]) -> str:
    if model.n_features > _MOST_COLUMNS:
        raise NotExportableError(
            f"HashingVectorizer(n_features={model.n_features}) would give as many numbers for each"
            f" row, as ONNX has no sparse rows; use at most {_MOST_COLUMNS}"
        )
    rows.dtype = np.dtype(np.float32)  # float32: counts are whole numbers, and the rows are long
    text, unsafe = lowered(rows, model, columns)
    if model.analyzer == "word":
        pieces, gone = word_tokens(rows, model, text, _PAD)
        between = " "
        if gone:
            pieces = _without(rows, pieces, gone[0] if len(gone) == 1 else rows.add("Or", *gone))
    elif model.analyzer == "char":
        pieces, between = _letters(rows, text), ""
    else:
        raise NotExportableError(
            "HashingVectorizer(analyzer='char_wb') has no ONNX form here; use analyzer='char' or"
            " 'word', or TfidfVectorizer"
        )
    places, signs = _places(rows, model, pieces, between)
    shape = rows.add("Shape", text, start=0, end=1)
    shape = rows.add("Concat", shape, rows.whole([model.n_features]), axis=0)
    nothing = rows.add("Expand", rows.number([[0.0]]), shape)

    def added(values: str) -> str:
        return rows.add("ScatterElements", nothing, places, values, axis=1, reduction="add")

    if model.binary:
        # An n-gram also counts if signs cancel.
        found = rows.truth(rows.op("Greater", added(rows.add("Abs", signs)), 0.0))
    else:
        found = added(signs)
    if model.norm is not None:
        found = norm_divided(rows, found, model.norm)
    return rows.raising(found, unsafe) if unsafe else found


def _letters(rows: Rows, text: str) -> str:
    """Return the single characters; each run of white space becomes one space."""
    letters = tokens(rows, text, "(?s).", _PAD)
    spaces = among(rows, letters, whitespace())
    before, after = preceding(rows, spaces), following(rows, spaces)
    run = rows.add("And", spaces, rows.add("Or", before, after))
    letters = rows.add("Where", run, rows.constant([" "]), letters)
    return _without(rows, letters, rows.add("And", spaces, before))


def _without(rows: Rows, pieces: str, removed: str) -> str:
    emptied = rows.add("Where", removed, rows.constant([_PAD]), pieces)
    return rows.add("GatherElements", emptied, kept_first(rows, removed), axis=1)


def _places(rows: Rows, model: Any, pieces: str, between: str) -> tuple[str, str]:
    """Return every n-gram's column and its sign: 1, -1, or 0 if it reaches into the padding."""
    least, most = model.ngram_range
    # The padding grows by the length of an n-gram, so that every row has n-grams of every length.
    last = rows.add("Slice", pieces, rows.whole([-1]), rows.whole([2**60]), rows.whole([1]))
    padded = rows.joined([pieces, *[last] * most])
    gram, hashes, present = padded, [], []
    for length in range(1, most + 1):
        newest = padded
        if length > 1:
            newest = rows.add(
                "Slice", padded, rows.whole([length - 1]), rows.whole([2**60]), rows.whole([1])
            )
            shorter = rows.add("Slice", gram, rows.whole([0]), rows.whole([-1]), rows.whole([1]))
            if between:
                shorter = rows.add("StringConcat", shorter, rows.constant([between]))
            gram = rows.add("StringConcat", shorter, newest)
        if length < least:
            continue
        hashed = rows.add("MurmurHash3", gram, domain=CONTRIB, positive=0, seed=0)
        hashes.append(rows.cast(hashed, np.int64))
        present.append(rows.add("Not", rows.add("Equal", newest, rows.constant([_PAD]))))
    found, there = rows.joined(hashes), rows.truth(rows.joined(present))
    places = rows.add("Mod", rows.add("Abs", found), rows.whole([model.n_features]))
    if model.alternate_sign:
        negative = rows.add("Less", found, rows.whole([0]))
        there = rows.op("Mul", there, rows.op("Where", negative, -1.0, 1.0))
    return places, there
