"""CountVectorizer and TfidfVectorizer: text becomes counts of words, characters and their n-grams.

    text -> lower case -> tokens -> numbers of tokens -> counts of n-grams -> weights

Tokens become numbers at once: 0 stands for tokens that occur in no term, and for padding.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from mlflow_onnx_flavor.frameworks.sklearn.converters import text_patterns
from mlflow_onnx_flavor.frameworks.sklearn.converters.text_sequences import (
    BREAK,
    collapsed_spaces,
    compacted,
    padded_words,
)
from mlflow_onnx_flavor.frameworks.sklearn.converters.text_tokens import (
    among,
    lowered,
    numbered,
    padding,
    tokens,
    word_tokens,
)
from mlflow_onnx_flavor.frameworks.sklearn.converters.transformers_graph import Column, Rows, Rule
from mlflow_onnx_flavor.frameworks.sklearn.converters.transformers_graph import register as _take
from mlflow_onnx_flavor.frameworks.sklearn.converters.transformers_scaling import weighted_terms

_NEVER = -7  # a token that no text has, for terms that can never occur


def register() -> None:
    """Register this file's converters with skl2onnx."""
    from sklearn.feature_extraction.text import CountVectorizer, TfidfVectorizer

    def width(model: Any) -> int:
        """Return the number of columns of a vectorizer's result."""
        return len(model.vocabulary_)

    rule = Rule(_vectorized, by_column=True, width=width)
    _take({CountVectorizer: rule, TfidfVectorizer: rule})


def _vectorized(rows: Rows, model: Any, columns: list[Column]) -> str:
    text, unsafe = lowered(rows, model, columns)
    terms = {term: int(column) for term, column in model.vocabulary_.items()}
    if model.analyzer == "word":
        counts = _counted_words(rows, model, text, terms)
    else:
        counts = _counted_characters(rows, model, text, terms)
    if model.binary:
        counts = rows.truth(rows.op("Greater", counts, 0.0))
    if hasattr(model, "_tfidf"):
        counts = weighted_terms(rows, counts, model._tfidf)
    return rows.raising(counts, unsafe) if unsafe else counts


def _counted_words(rows: Rows, model: Any, text: str, terms: Mapping[str, int]) -> str:
    least, most = model.ngram_range
    stops = sorted(model.get_stop_words() or ())
    split = {term: tuple(term.split(" ")) if most > 1 else (term,) for term in terms}
    split = {term: words for term, words in split.items() if least <= len(words) <= most}
    known = sorted({word for words in split.values() for word in words} - set(stops) - {""})
    numbers = {word: number for number, word in enumerate(known, 1)}
    pad = padding([*known, *stops])
    words, gone = word_tokens(rows, model, text, pad)
    ids = numbered(rows, words, numbers)
    for each in gone:
        ids = rows.add("Where", each, rows.whole(0), ids)
    if most == 1:
        return _counted(rows, ids, {numbers.get(term, 0): at for term, at in terms.items()}, terms)
    if gone:
        ids = compacted(rows, ids, gone[0] if len(gone) == 1 else rows.add("Or", *gone))
    grams = {
        terms[term]: tuple(numbers[word] for word in words)
        for term, words in split.items()
        if all(word in numbers for word in words)
    }
    return _counted_grams(rows, ids, grams, len(terms))


def _counted_characters(rows: Rows, model: Any, text: str, terms: Mapping[str, int]) -> str:
    known = sorted({letter for term in terms for letter in term} | {" "})
    numbers = {letter: number for number, letter in enumerate(known, 1)}
    pad = "end"  # longer than a token, which is one character
    letters = tokens(rows, text, "(?s).", pad)
    ids = numbered(rows, letters, numbers)
    spaces = among(rows, letters, text_patterns.whitespace())
    least, most = model.ngram_range
    grams = {}
    if model.analyzer == "char":
        ids = collapsed_spaces(rows, ids, spaces, numbers[" "])
        for term, column in terms.items():
            if least <= len(term) <= most:
                grams[column] = tuple(numbers[letter] for letter in term)
    else:
        padding = among(rows, letters, [pad])
        ids = padded_words(rows, ids, rows.add("Or", spaces, padding), numbers[" "])
        for term, column in terms.items():
            inner = tuple(numbers[letter] for letter in term)
            if least <= len(term) <= most:
                grams[column] = inner
            elif len(term) < least:
                # A word that is shorter than every n-gram is counted once, as a whole.
                grams[column] = (BREAK, *inner, BREAK)
    return _counted_grams(rows, ids, grams, len(terms))


def _counted(rows: Rows, ids: str, column_of: Mapping[int, int], terms: Mapping[str, int]) -> str:
    """Return the count of each term, shape (texts, terms): every token adds one to its column."""
    width = len(terms)
    # The extra column is for tokens that are no term.
    columns = np.full(max(column_of, default=0) + 1, width, np.int64)
    for number, column in column_of.items():
        if number:
            columns[number] = column
    places = rows.add("Gather", rows.whole(columns), ids, axis=0)
    shape = rows.add("Shape", ids, start=0, end=1)
    shape = rows.add("Concat", shape, rows.whole([width + 1]), axis=0)
    nothing = rows.add("Expand", rows.constant([[0.0]], np.float64), shape)
    ones = rows.cast(rows.add("Equal", ids, ids), np.float64)
    counts = rows.add("ScatterElements", nothing, places, ones, axis=1, reduction="add")
    return rows.cast(rows.columns(counts, np.arange(width)), rows.dtype)


def _counted_grams(rows: Rows, ids: str, grams: Mapping[int, tuple[int, ...]], width: int) -> str:
    """Return the count of each n-gram of numbers, shape (texts, width)."""
    longest = max((len(each) for each in grams.values()), default=1)
    # Every column needs an n-gram, or the operator returns fewer columns.
    every = {column: grams.get(column, (_NEVER,) * longest) for column in range(width)}
    shortest = min(len(each) for each in every.values())
    pool: list[int] = []
    starts, columns = [], []
    for length in range(1, longest + 1):
        starts.append(len(pool))
        own = sorted((gram, column) for column, gram in every.items() if len(gram) == length)
        pool += [number for gram, _ in own for number in gram]
        columns += [column for _, column in own]
    counts = rows.add(
        "TfIdfVectorizer",
        ids,
        mode="TF",
        min_gram_length=shortest,
        max_gram_length=longest,
        max_skip_count=0,
        ngram_counts=starts,
        ngram_indexes=columns,
        pool_int64s=pool,
    )
    return rows.cast(counts, rows.dtype)
