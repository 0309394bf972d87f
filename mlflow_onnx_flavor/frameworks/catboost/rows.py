"""The input rows of a CatBoost model with categories, as its trees read them in the graph."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from mlflow_onnx_flavor.errors import NotExportableError
from mlflow_onnx_flavor.frameworks.boosting.answers import Typed
from mlflow_onnx_flavor.frameworks.boosting.rows import require_known_columns
from mlflow_onnx_flavor.frameworks.catboost import (
    categories as catboost_categories,
)
from mlflow_onnx_flavor.frameworks.catboost import (
    columns as catboost_columns,
)
from mlflow_onnx_flavor.frameworks.catboost.categories import Categories
from mlflow_onnx_flavor.frameworks.catboost.ctrs import ctrs_of
from mlflow_onnx_flavor.frameworks.tabular import MATRIX, column_feeds, matrix_feed
from mlflow_onnx_flavor.inputs import Inputs
from mlflow_onnx_flavor.onnx_graph.builder import GraphParts
from mlflow_onnx_flavor.schemas.graph import FeedSpec


def add_rows(
    parts: GraphParts, model: Any, found: Mapping[str, Any], given: Sequence[Inputs]
) -> tuple[tuple[FeedSpec, ...], Typed, str, Categories]:
    """Return the graph inputs for the rows, the float64 matrix that trees read, and the categories.

    The graph inputs are returned as feeds and types.  ``found``: the model's JSON.  ``given``: sets
    of rows; the first shows the graph's inputs.
    """
    kinds = set(model.get_cat_feature_indices())
    frames = [_frame(each, kinds) for each in given]
    categories = catboost_categories.resolved(found, ctrs_of(model), frames)
    feeds, columns = _fed(parts, given[0], frames[0], kinds)
    typed: Typed = {
        feed.name: (feed.dtype, [None, len(feed.columns) or frames[0].shape[1]]) for feed in feeds
    }
    texts = {at: categories.texts[feature] for feature, at in categories.columns.items()}
    for at in kinds:
        is_text = _held(frames[0].iloc[:, at]) == "string"
        columns[at] = catboost_columns.add_codes(parts, columns[at], is_text, texts.get(at, {}))
    rounded = (
        each if at in kinds else parts.cast(each, np.float32) for at, each in enumerate(columns)
    )
    matrix = parts.add("Concat", *(parts.cast(each, np.float64) for each in rounded), axis=1)
    numbers = found["features_info"].get("float_features", [])
    return feeds, typed, catboost_columns.add_ctrs(parts, matrix, categories, numbers), categories


def _fed(
    parts: GraphParts, given: Inputs, frame: pd.DataFrame, kinds: set[int]
) -> tuple[tuple[FeedSpec, ...], list[str]]:
    """Return the feeds and the name of each column, shape (rows, 1).

    A column of categories holds int64 or strings.
    """
    if not isinstance(given.data, pd.DataFrame):
        return matrix_feed(given, "int64"), [
            parts.columns(MATRIX, [at]) for at in range(frame.shape[1])
        ]
    feeds = column_feeds(frame, "float32", keep_integers=False)
    feeds = [
        feed.model_copy(update={"dtype": "int64"})
        if at in kinds and feed.dtype != "object"
        else feed
        for at, feed in enumerate(feeds)
    ]
    return tuple(feeds), [feed.name for feed in feeds]


def _frame(given: Inputs, kinds: set[int]) -> pd.DataFrame:
    """Return the rows as a frame.

    Raises NotExportableError unless every column holds numbers or categories of one type.
    """
    if isinstance(given.data, pd.DataFrame):
        frame = given.data
        require_known_columns(given, "CatBoost", [frame.columns[at] for at in kinds])
        others = [
            str(frame.columns[at])
            for at in sorted(kinds)
            if _held(frame.iloc[:, at]) not in ("string", "integer", "boolean")
        ]
        if others:
            raise NotExportableError(
                f"the categorical features {', '.join(others)} hold neither texts alone nor whole"
                " numbers alone, of which a graph takes either; make them texts and train again"
            )
        return frame
    if (
        isinstance(given.data, np.ndarray)
        and given.data.ndim == 2
        and given.data.dtype.kind in "iub"
    ):
        return pd.DataFrame(given.data)
    raise NotExportableError(
        "CatBoost's categorical features are converted from data frames and arrays of whole numbers"
        " alone; log the model with a data frame as its input example"
    )


def _held(column: pd.Series) -> str:
    """Return pandas' inferred type of a column's values, or of its categories."""
    values = column.cat.categories if isinstance(column.dtype, pd.CategoricalDtype) else column
    return pd.api.types.infer_dtype(values, skipna=True)
