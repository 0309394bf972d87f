"""The first steps of every vectorizer of text: lower case, and tokens as a matrix of texts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from mlflow_onnx_flavor.errors import NotExportableError
from mlflow_onnx_flavor.frameworks.sklearn.converters import text_patterns
from mlflow_onnx_flavor.frameworks.sklearn.converters.transformers_graph import (
    CONTRIB,
    Column,
    Rows,
)


def lowered(rows: Rows, model: Any, columns: list[Column]) -> tuple[str, str]:
    """Return the texts, shape (texts,), in lower case if the model asks for it.

    The second name is a condition, "" if there is none; where it holds, the texts differ from
    Python's.  Raises NotExportableError if the model uses Python functions on the text.
    """
    _require_plain(model)
    if len(columns) != 1 or not columns[0].text:
        raise NotExportableError(
            f"{type(model).__name__} takes one column of text; name it alone in a"
            " ColumnTransformer, as a string and not as a list"
        )
    text = rows.reshape(columns[0].name, -1)
    if not model.lowercase:
        return text, ""
    pattern = text_patterns.safely_lowered()
    unsafe = rows.add("Not", rows.add("RegexFullMatch", text, pattern=pattern))
    return (
        rows.add("StringNormalizer", text, case_change_action="LOWER", is_case_sensitive=0),
        unsafe,
    )


def word_tokens(rows: Rows, model: Any, text: str, pad: str) -> tuple[str, list[str]]:
    """Return the words, shape (texts, most words + 1), and masks of those that do not count."""
    found = text_patterns.words(model.token_pattern)
    if found.holds_space and model.ngram_range[1] > 1:
        raise NotExportableError(
            f"the token_pattern {model.token_pattern!r} takes spaces into words, so n-grams are not"
            " told apart from words; use a pattern without spaces, or ngram_range=(1, 1)"
        )
    words = tokens(rows, text, found.tokens, pad)
    gone = []
    stops = sorted(model.get_stop_words() or ())
    if stops:
        gone.append(among(rows, words, stops))
    if found.kept:
        gone.append(rows.add("Not", rows.add("RegexFullMatch", words, pattern=found.kept)))
    return words, gone


def tokens(rows: Rows, text: str, pattern: str, pad: str) -> str:
    """Return the matches of ``pattern``, shape (texts, most matches + 1), padded with ``pad``."""
    found = rows.add(
        "Tokenizer",
        text,
        domain=CONTRIB,
        tokenexp=pattern,
        pad_value=pad,
        mark=0,
        mincharnum=1,
    )
    # If no text has a match there are no columns at all, which other operators reject.
    one = rows.add("Expand", rows.constant([[pad]]), rows.add("Shape", rows.reshape(text, -1, 1)))
    return rows.add("Concat", found, one, axis=1)


def numbered(rows: Rows, tokens: str, numbers: Mapping[str, int]) -> str:
    """Return the number of each token; 0 if it has none."""
    return rows.ml(
        "LabelEncoder",
        tokens,
        keys_strings=list(numbers) or ["end"],
        values_int64s=list(numbers.values()) or [0],
        default_int64=0,
    )


def among(rows: Rows, tokens: str, some: Sequence[str]) -> str:
    """Return a mask of the tokens that are in ``some``."""
    return rows.cast(numbered(rows, tokens, dict.fromkeys(some, 1)), np.bool_)


def padding(tokens: Sequence[str]) -> str:
    """Return a text that is none of ``tokens``."""
    return "\x01" * (1 + max(map(len, tokens), default=0))


def _require_plain(model: Any) -> None:
    """Raise NotExportableError if the model uses Python functions on the text."""
    for name in ("analyzer", "preprocessor", "tokenizer"):
        function = getattr(model, name)
        if callable(function):
            called = getattr(function, "__qualname__", repr(function))
            raise NotExportableError(
                f"{type(model).__name__} has the {name} {called}, a Python function, which has no"
                " ONNX form; use the options analyzer, token_pattern and lowercase"
            )
    if model.strip_accents:
        raise NotExportableError(
            f"{type(model).__name__}(strip_accents={model.strip_accents!r}) has no ONNX form; strip"
            " the accents before the model, in training and in use"
        )
    if model.input != "content":
        raise NotExportableError(
            f"{type(model).__name__}(input={model.input!r}) reads files, which an ONNX graph"
            " cannot; give it the texts"
        )
