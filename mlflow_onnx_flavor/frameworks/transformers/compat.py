"""Private APIs of transformers: all of them are in this module.

Each entry says why it is needed; `tests/frameworks/transformers/test_compat.py` fails when an entry
is no longer needed.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def truncation_of(tokenizer: Any, preprocessing: Mapping[str, Any]) -> tuple[str, int]:
    """Return the truncation strategy of a call with options ``preprocessing``, and its token limit.

    Why: a tokenizer resolves truncation and max_length anew in each call, by rules that only this
    method knows, and does not record the result.
    """
    _, truncation, most, _ = tokenizer._get_padding_truncation_strategies(
        verbose=False, **preprocessing
    )
    return truncation.value, int(most or 0)


def preprocessed(pipeline: Any, text: str) -> Any:
    """Return the pipeline's tensors for ``text``, one chunk after another.

    Why: a pipeline keeps the options of its constructor in a private attribute, and
    ``preprocess``, called alone, ignores them.
    """
    return pipeline.preprocess(text, **pipeline._preprocess_params)
