"""The input rows of a booster as one float64 matrix in the graph."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from mlflow_onnx_flavor.errors import NotExportableError
from mlflow_onnx_flavor.frameworks.boosting.answers import Typed
from mlflow_onnx_flavor.frameworks.boosting.category_codes import add_codes, is_text
from mlflow_onnx_flavor.frameworks.tabular import MATRIX, column_feeds, matrix_feed, width
from mlflow_onnx_flavor.inputs import Inputs
from mlflow_onnx_flavor.onnx_graph.builder import GraphParts
from mlflow_onnx_flavor.schemas.graph import FeedSpec


def category_columns(example: Inputs) -> list[str]:
    """Return the columns of pandas' category dtype, in order."""
    if not isinstance(example.data, pd.DataFrame):
        return []
    frame = example.data
    return [name for name in frame if isinstance(frame[name].dtype, pd.CategoricalDtype)]


def add_rows(
    parts: GraphParts,
    example: Inputs,
    dtype: str,
    categories: Mapping[str, Sequence[Any]] | None = None,
) -> tuple[tuple[FeedSpec, ...], Typed, str]:
    """Return the graph inputs for the rows: feeds, types, and the name of the matrix made of them.

    Without ``categories`` the whole matrix is one input of ``dtype``; with them each column is an
    input.  ``categories``: column -> the values that the booster numbers from 0 on.
    """
    if not categories:
        typed: Typed = {MATRIX: (dtype, [None, width(example)])}
        return matrix_feed(example, dtype), typed, parts.cast(MATRIX, np.float64)
    feeds, columns = [], []
    for feed in column_feeds(example.data, dtype, keep_integers=False):
        known = categories.get(feed.columns[0])
        if known is not None:
            kind = "object" if is_text(known) else "float64"
            feed = feed.model_copy(update={"dtype": kind})
            columns.append(add_codes(parts, feed.name, kind == "object", known))
        else:
            columns.append(parts.cast(feed.name, np.float64))
        feeds.append(feed)
    typed = {feed.name: (feed.dtype, [None, 1]) for feed in feeds}
    return tuple(feeds), typed, parts.add("Concat", *columns, axis=1)


def require_known_columns(
    example: Inputs, framework: str, categories: Collection[Any] | None = None
) -> None:
    """Raise NotExportableError unless every column is numeric or has known ``categories``."""
    if not isinstance(example.data, pd.DataFrame):
        return
    others = [
        str(name)
        for name in example.data
        if not pd.api.types.is_numeric_dtype(example.data[name]) and name not in (categories or ())
    ]
    if others:
        raise NotExportableError(
            f"the columns {', '.join(others)} hold no numbers, and the model does not tell how"
            f" {framework} numbers them; give it numbers, or put an OrdinalEncoder in front of it"
            " in a scikit-learn pipeline"
        )
