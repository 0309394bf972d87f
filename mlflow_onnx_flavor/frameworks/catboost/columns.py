"""The columns that CatBoost's trees read in a graph with categories.

They are the model's own columns, with codes in place of categories, and one column for each CTR.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from mlflow_onnx_flavor.frameworks.catboost.categories import Categories
from mlflow_onnx_flavor.frameworks.catboost.ctrs import CATEGORY, EXCEEDS, IS, Element
from mlflow_onnx_flavor.frameworks.catboost.lookups import add_mapping, add_values
from mlflow_onnx_flavor.onnx_graph.builder import GraphParts
from mlflow_onnx_flavor.onnx_graph.tree_ensemble import EQ, GT, Tree, add_sum


def add_codes(parts: GraphParts, column: str, is_text: bool, texts: Mapping[str, int]) -> str:
    """Return the code of each category, int64 of the shape of ``column``.

    An unseen category has the code after the last.  ``column``: strings if ``is_text``, else int64.
    """
    keys: list[Any] = list(texts) if is_text else [int(each) for each in texts if _is_whole(each)]
    codes = [texts[str(each)] for each in keys]
    unseen = max(texts.values(), default=-1) + 1
    # A LabelEncoder needs at least one key.
    return add_mapping(parts, column, keys or [("" if is_text else 0)], codes or [unseen], unseen)


def add_ctrs(
    parts: GraphParts, rows: str, categories: Categories, numbers: Sequence[Mapping[str, Any]]
) -> str:
    """Return ``rows`` followed by one column for each CTR, float64 of shape (rows, columns).

    ``rows``: float64, with codes in place of categories.  ``numbers``: the float features as the
    model's JSON describes them.
    """
    ctrs = categories.ctrs
    if not ctrs.places:
        return rows
    every = list(dict.fromkeys(each for table in ctrs.tables for each in table.elements))
    elements = [each for kind in (CATEGORY, EXCEEDS, IS) for each in every if each.kind == kind]
    codes = _codes(parts, rows, elements, categories, numbers)
    values = add_values(parts, codes, elements, categories)
    return parts.add("Concat", rows, values, axis=1)


def _codes(
    parts: GraphParts,
    rows: str,
    elements: Sequence[Element],
    categories: Categories,
    numbers: Sequence[Mapping[str, Any]],
) -> str:
    """Return the codes of ``elements``, those of categories first, int64."""
    chosen = [each for each in elements if each.kind == CATEGORY]
    codes = parts.columns(rows, [categories.columns[each.feature] for each in chosen])
    conditions = [
        _condition(each, categories, numbers) for each in elements if each.kind != CATEGORY
    ]
    if conditions:
        holds = add_sum(parts, rows, conditions, range(len(conditions)), len(conditions))
        codes = parts.add("Concat", codes, holds, axis=1)
    return parts.cast(codes, np.int64)


def _condition(
    element: Element, categories: Categories, numbers: Sequence[Mapping[str, Any]]
) -> Tree:
    """Return a tree that gives 1 if the condition holds, compared as in the model's own trees."""
    if element.kind == EXCEEDS:
        feature = numbers[element.feature]
        column, threshold, mode = feature["flat_feature_index"], element.value, GT
        exceeds = feature["nan_value_treatment"] == "AsTrue"
    else:
        code = categories.codes[element.feature][int(element.value)]
        column, threshold, mode, exceeds = categories.columns[element.feature], code, EQ, False
    return Tree(
        feature=np.array([column, 0, 0]),
        threshold=np.array([threshold, 0, 0], np.float64),
        mode=np.array([mode, GT, GT]),
        true_child=np.array([2, -1, -1]),
        false_child=np.array([1, -1, -1]),
        missing_true=np.array([exceeds, False, False]),
        value=np.array([[0.0], [0.0], [1.0]]),
    )


def _is_whole(text: str) -> bool:
    """Return whether the text is that of a 64-bit integer."""
    digits = text.removeprefix("-")
    if not (digits.isascii() and digits.isdigit() and str(int(text)) == text):
        return False
    return -(2**63) <= int(text) < 2**63
