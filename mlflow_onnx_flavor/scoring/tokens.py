"""Turn text into token ids with the source's tokenizer, which the graph's metadata holds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

# The key in the ONNX file's metadata; its value is the result of `tokenizers.Tokenizer.to_str`.
TOKENIZER_KEY = "tokenizer.json"

_ATTRIBUTES = {
    "input_ids": "ids",
    "attention_mask": "attention_mask",
    "token_type_ids": "type_ids",
    "special_tokens_mask": "special_tokens_mask",
}


class TextTokenizer:
    """A tokenizer with its padding and truncation, from ``serialized``.  Thread-safe."""

    def __init__(self, serialized: str | None):
        if serialized is None:
            raise ValueError(
                f"the model takes text, but its file has no {TOKENIZER_KEY!r} metadata"
            )
        try:
            from tokenizers import Tokenizer
        except ModuleNotFoundError as error:
            raise ValueError(
                "the model takes text, which needs the package tokenizers; install what the"
                " model's requirements.txt names"
            ) from error
        self._tokenizer = Tokenizer.from_str(serialized)

    def tensors(self, data: Any, names: Sequence[str]) -> dict[str, np.ndarray]:
        """Return int64 arrays of shape (rows, tokens) by name.

        ``names``: some of "input_ids", "attention_mask", "token_type_ids" and
        "special_tokens_mask".
        """
        encoded = self._tokenizer.encode_batch(texts_of(data))
        return {
            name: np.array([getattr(each, _ATTRIBUTES[name]) for each in encoded], np.int64)
            for name in names
        }


def texts_of(data: Any) -> list[str]:
    """Return the only column of a frame, an array or a dictionary, or a list, as texts.

    Raises ValueError where there are several columns, or a row is not a text.
    """
    if isinstance(data, str):
        data = [data]
    if isinstance(data, dict):
        data = pd.DataFrame(data)
    if isinstance(data, pd.DataFrame):
        if len(data.columns) != 1:
            raise ValueError(f"the model takes one column of text, got {list(data.columns)}")
        data = data.iloc[:, 0]
    array = np.asarray(data, dtype=object)
    if array.ndim > 1 and array.size != len(array):
        raise ValueError(f"the model takes one text a row, got an array of shape {array.shape}")
    texts = array.reshape(-1).tolist()
    for row, text in enumerate(texts):
        if not isinstance(text, str):
            raise ValueError(f"row {row} must be text, but is {text!r}")
    return texts
