"""Missing text: ONNX has no other sign for it than the empty string.

Scoring feeds "" where a text is missing, so the graph must treat "" as scikit-learn treats None and
NaN: in imputers as what to replace, in encoders as the category that stands for a missing value.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import numpy as np

MISSING_TEXT = ""


def with_empty_for_missing(model: Any) -> Any:
    """A copy of ``model`` whose text imputers and encoders take "" for a missing text.

    ``model`` itself where nothing inside deals with missing text.
    """
    if not any(_deals_with_missing_text(each) for each in _estimators(model)):
        return model
    changed = copy.deepcopy(model)
    for estimator in _estimators(changed):
        if _is_text_imputer(estimator):
            estimator.missing_values = MISSING_TEXT
        for name in _ENCODED:
            if hasattr(estimator, name):
                setattr(estimator, name, [_filled(each) for each in getattr(estimator, name)])
    return changed


_ENCODED = ("categories_",)


def _deals_with_missing_text(estimator: Any) -> bool:
    if _is_text_imputer(estimator):
        return True
    return any(
        _is_missing(value)
        for name in _ENCODED
        for categories in getattr(estimator, name, ())
        if np.asarray(categories).dtype == object
        for value in categories
    )


def _is_text_imputer(estimator: Any) -> bool:
    statistics = getattr(estimator, "statistics_", None)
    return (
        hasattr(estimator, "missing_values")
        and _is_missing(estimator.missing_values)
        and statistics is not None
        and np.asarray(statistics).dtype == object
    )


def _filled(categories: Any) -> Any:
    if np.asarray(categories).dtype != object:
        return categories
    filled = np.array(categories, dtype=object)
    filled[[_is_missing(value) for value in categories]] = MISSING_TEXT
    return filled


def _is_missing(value: Any) -> bool:
    return value is None or (isinstance(value, float) and np.isnan(value)) or str(value) == "<NA>"


def _estimators(model: Any) -> Iterator[Any]:
    """``model`` and every fitted estimator inside it."""
    yield model
    inner = [step for _, step in getattr(model, "steps", ())]
    inner += [each[1] for each in getattr(model, "transformers_", ())]
    inner += [each[1] for each in getattr(model, "transformer_list", ())]
    for estimator in inner:
        if hasattr(estimator, "get_params"):
            yield from _estimators(estimator)
