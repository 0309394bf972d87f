"""The available rows as CatBoost sees them, and the texts that may explain a model's hashes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from mlflow_onnx_flavor.frameworks.catboost.ctrs import CATEGORY, EXCEEDS, Element
from mlflow_onnx_flavor.frameworks.catboost.hashes import hashes_of

_GUESSED_NUMBERS = range(-100, 10_000)
# Texts that users write for missing values and for booleans.
_GUESSED_TEXTS = ("", "nan", "NaN", "None", "<NA>", "null", "missing", "unknown", "True", "False")
_NO_HASH = 2**40  # outside of all hashes, which have 32 bits
# A category may be one of these even if it occurs in no row and in no table of its own.
_FEW_NUMBERS = range(-1, 100)


class GivenRows:
    """The texts and hashes of the available rows.

    ``hashes``: text -> hash, for all texts in the rows and, after `guess`, for some that no row
    holds.  ``columns``: feature (its number among those with categories) -> its column among all;
    ``names``: feature -> its name.
    """

    def __init__(self, info: Mapping[str, Any], frames: Sequence[pd.DataFrame]):
        """Hash the texts in the rows.

        ``info``: the feature description in the model's JSON.  ``frames``: rows with the model's
        columns in its order.
        """
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
        """Add the hashes of likely texts, for rows that are too few to explain a model."""
        self.hashes |= hashes_of(map(str, _GUESSED_NUMBERS))

    def possible(self, feature: int) -> list[int]:
        """Return the distinct hashes of the values that a column may hold, judging by the rows."""
        texts = self._known[feature]
        if texts and all(_is_number(text) for text in texts):
            texts = [*texts, *map(str, _FEW_NUMBERS)]
        return list(dict.fromkeys(self.hashes[text] for text in texts if text in self.hashes))

    def positions(self, element: Element, known: Mapping[int, int]) -> np.ndarray:
        """Return each row's position for ``element``, int64 of shape (rows,).

        For a category this is its position in ``known`` (hash -> position), -1 if it is not there;
        for any other element it is 1 if the condition holds, else 0.
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
        """Return the texts in the rows and the declared categories of pandas' category dtype."""
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
    """Return the text that CatBoost hashes for a value; None if the value is no category."""
    if isinstance(value, str):
        return str(value)
    if isinstance(value, bool | np.bool_ | int | np.integer):
        return str(int(value))
    return None


def _is_number(text: str) -> bool:
    return text.removeprefix("-").isdigit()
