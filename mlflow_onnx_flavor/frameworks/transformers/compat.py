"""What is private in transformers: here and nowhere else.

Each entry says why it is needed; `tests/frameworks/transformers/test_compat.py` fails where one is
needed no longer.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def truncation_of(tokenizer: Any, preprocessing: Mapping[str, Any]) -> tuple[str, int]:
    """Return how a call with the options ``preprocessing`` truncates, and to how many tokens.

    Why: a tokenizer resolves truncation and max_length anew in each call, by rules that only this
    method knows, and leaves no trace of them.
    """
    _, truncation, most, _ = tokenizer._get_padding_truncation_strategies(
        verbose=False, **preprocessing
    )
    return truncation.value, int(most or 0)


def preprocessed(pipeline: Any, text: str) -> Any:
    """Return the pipeline's tensors for ``text``, one chunk after another.

    Why: a pipeline keeps the options that it was made with in a private attribute, and
    ``preprocess``, called alone, leaves them out.
    """
    return pipeline.preprocess(text, **pipeline._preprocess_params)
