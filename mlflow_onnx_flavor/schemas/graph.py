"""The flavor's contract: how a logged ONNX graph is fed and how its outputs become predictions.

A conversion writes it; it is stored in the MLmodel file under the flavor's ``graph`` key.  The
package `scoring` reads it: that package knows the same keys but does not import this module.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, model_serializer


class Spec(BaseModel):
    """Base class of the specifications: frozen, without unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class FeedSpec(Spec):
    """The specification of one graph input.

    ``layout`` tells where its values come from when the model is given a DataFrame:

    - "matrix": ``columns`` side by side, shape (rows, len(columns))
    - "column": ``columns[0]`` as shape (rows, 1), or (rows,) where the graph declares that
    - "tokens": the one column of text through the file's tokenizer, shape (rows, tokens); ``key``
      is "input_ids", "attention_mask", "token_type_ids" or "special_tokens_mask"
    - "tensor": not from columns; a dictionary gives it under ``key``, and a bare array is used as
      it

    A bare 2-D array also serves "matrix" (as it is) and "column" (its column at that position).
    ``dtype`` is numpy's name of the dtype that the graph takes ("float32", "int64", "bool",
    "object" for strings).  ``optional``: the names among ``columns`` that may be absent; they are
    then filled with missing values.
    """

    name: str
    layout: Literal["matrix", "column", "tokens", "tensor"]
    dtype: str
    columns: tuple[str, ...] = ()
    key: str = ""
    optional: tuple[str, ...] = ()

    @model_serializer(mode="wrap")
    def _written(self, write: Any) -> dict[str, Any]:
        """``optional`` where there are any: an older version of this package reads the rest."""
        fields: dict[str, Any] = write(self)
        if not self.optional:
            fields.pop("optional", None)
        return fields


class PredictionPart(Spec):
    """The specification of one graph output within the prediction.

    ``shape`` is that of one row (() for a scalar per row; -1 where it varies).  ``dtype``: the one
    that the source's pyfunc returned.  ``key``: its name in a dictionary or data frame.
    ``as_list``: a nested Python list instead of an array.
    """

    output: str
    dtype: str
    shape: tuple[int, ...]
    key: str = ""
    as_list: bool = False


class PredictionSpec(Spec):
    """The form of the source's pyfunc answer, to be rebuilt from the graph's outputs.

    The ``container`` "dataframe" or "series" carries ``columns`` (names or integers) and takes the
    input's index where ``keeps_index``.  A "list" is one of rows, or of several outputs that are
    arrays.  ``lengths``: a graph output of shape (rows,); the answer then is an array for the first
    row alone, cut to the number of entries that it gives.
    """

    container: Literal["ndarray", "dataframe", "series", "dict", "list"]
    parts: tuple[PredictionPart, ...]
    columns: tuple[str | int, ...] = ()
    keeps_index: bool = False
    lengths: str = ""


class GraphSpec(Spec):
    """Everything that scoring needs beside the ONNX file.

    ``classes``: a classifier's classes as text, in the order of the columns of its "probabilities".
    """

    feeds: tuple[FeedSpec, ...]
    prediction: PredictionSpec
    outputs: tuple[str, ...]  # every graph output, in the graph's order
    classes: tuple[str, ...] = ()
