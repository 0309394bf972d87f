"""The rows at hand as CatBoost sees them, and the texts that may stand behind a model's hashes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from mlflow_onnx_flavor.frameworks.catboost.ctrs import CATEGORY, EXCEEDS, Element
from mlflow_onnx_flavor.frameworks.catboost.hashes import hashes_of

_GUESSED_NUMBERS = range(-100, 10_000)
# What users put in the place of missing values, and make of booleans.
_GUESSED_TEXTS = ("", "nan", "NaN", "None", "<NA>", "null", "missing", "unknown", "True", "False")
_NO_HASH = 2**40  # which takes no more than 32 bits
# Of these a category may be that occurs in no row and in no table of its own.
_FEW_NUMBERS = range(-1, 100)


class GivenRows:
    """``hashes``: text -> hash, of all texts in the rows, and after `guess` of some in no row.

    ``columns``: feature (its number among those with categories) -> its column among all;
    ``names``: -> its name.
    """

    def __init__(self, info: Mapping[str, Any], frames: Sequence[pd.DataFrame]):
        """``info``: of the model's JSON.  ``frames``: with the model's columns in its order."""
        self._frames, self._numbers = frames, info.get("float_features", [])
        self.columns = {
            each["feature_index"]: each["flat_feature_index"]
            for each in info.get("categorical_features", ())
        }
        self.names = {at: str(frames[0].columns[column]) for at, column in self.columns.items()}
        texts = {
            feature: [_text(value) for frame in frames for value in frame.iloc[:, column]]
            for feature, column in self.columns.items()
        }
        self._known = {feature: self._known_texts(feature, of) for feature, of in texts.items()}
        known = (text for of in self._known.values() for text in of)
        self.hashes = hashes_of([*known, *map(str, _FEW_NUMBERS), *_GUESSED_TEXTS])
        self._rows = {
            feature: np.array([self._hash(text) for text in of], np.int64)
            for feature, of in texts.items()
        }

    def _hash(self, text: str | None) -> int:
        return _NO_HASH if text is None else self.hashes.get(text, _NO_HASH)

    def guess(self) -> None:
        """Take in the hashes of texts that are likely where the rows are too few."""
        self.hashes |= hashes_of(map(str, _GUESSED_NUMBERS))

    def possible(self, feature: int) -> list[int]:
        """Hashes of what the column may hold as far as the rows show, each once."""
        texts = self._known[feature]
        if texts and all(_is_number(text) for text in texts):
            texts = [*texts, *map(str, _FEW_NUMBERS)]
        return list(dict.fromkeys(self.hashes[text] for text in texts if text in self.hashes))

    def positions(self, element: Element, known: Mapping[int, int]) -> np.ndarray:
        """Of each row the position of its category in ``known`` (hash -> position), -1 if nowhere;
        of another element whether it holds, 0 or 1.
        """
        if element.kind == EXCEEDS:
            return self._exceeds(element).astype(np.int64)
        hashes = self._rows[element.feature]
        if element.kind != CATEGORY:
            return (hashes == element.value).astype(np.int64)
        order = np.argsort(list(known))
        sorted_hashes = np.array(list(known), np.int64)[order]
        at = np.minimum(np.searchsorted(sorted_hashes, hashes), len(known) - 1)
        return np.where(sorted_hashes[at] == hashes, np.array(list(known.values()))[order][at], -1)

    def _known_texts(self, feature: int, texts: Sequence[str | None]) -> list[str]:
        """What the rows hold, and what pandas knows of a column of its category dtype."""
        columns = [frame.iloc[:, self.columns[feature]] for frame in self._frames]
        declared = [
            _text(value)
            for column in columns
            if isinstance(column.dtype, pd.CategoricalDtype)
            for value in column.cat.categories
        ]
        return [text for text in dict.fromkeys([*texts, *declared]) if text is not None]

    def _exceeds(self, element: Element) -> np.ndarray:
        feature = self._numbers[element.feature]
        columns = [frame.iloc[:, feature["flat_feature_index"]] for frame in self._frames]
        values = np.concatenate([each.to_numpy(np.float64, na_value=np.nan) for each in columns])
        with np.errstate(over="ignore"):
            above = values.astype(np.float32) > np.float32(element.value)
        return above | (np.isnan(values) & (feature["nan_value_treatment"] == "AsTrue"))


def _text(value: Any) -> str | None:
    """What CatBoost hashes of a value; None of one that it does not take for a category."""
    if isinstance(value, str):
        return str(value)
    if isinstance(value, bool | np.bool_ | int | np.integer):
        return str(int(value))
    return None


def _is_number(text: str) -> bool:
    return text.removeprefix("-").isdigit()
