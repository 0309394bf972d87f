"""How a logged ONNX graph is fed and how its outputs become the prediction: the flavor's contract.

Written by a conversion, stored in the MLmodel file under the flavor's ``graph`` key, and read by
`scoring/`, which knows the same keys but nothing of this module.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, model_serializer


class Spec(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class FeedSpec(Spec):
    """One graph input.

    ``layout`` says where its values come from when the model is given a DataFrame:

    - "matrix": ``columns`` side by side, shape (rows, len(columns))
    - "column": ``columns[0]`` as shape (rows, 1), or (rows,) where the graph declares that
    - "tokens": the one column of text through the file's tokenizer, shape (rows, tokens); ``key``
      is "input_ids", "attention_mask", "token_type_ids" or "special_tokens_mask"
    - "tensor": not from columns.  A dictionary gives it under ``key``; a bare array is it.

    A bare 2-D array also serves "matrix" (as it is) and "column" (its column at that position).
    ``dtype`` is numpy's name of what the graph wants ("float32", "int64", "bool", "object" for
    strings).  ``optional``: those of the columns that may be absent, which then are missing values.
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
    """One graph output within the prediction.

    ``shape`` is that of one row (() for a scalar per row; -1 where it varies); ``dtype`` what the
    source's pyfunc returned.  ``key``: its name in a dictionary or data frame; ``as_list``: a
    nested Python list instead of an array.
    """

    output: str
    dtype: str
    shape: tuple[int, ...]
    key: str = ""
    as_list: bool = False


class PredictionSpec(Spec):
    """The form in which the source's pyfunc answered, made again from the graph's outputs.

    ``container`` "dataframe" and "series" carry ``columns`` (names or integers) and take the
    input's index where ``keeps_index``; a "list" is one of rows, or of several outputs that are
    arrays.  ``lengths``: a graph output of shape (rows,), where the
    answer is an array for the first row alone, cut to so many entries.
    """

    container: Literal["ndarray", "dataframe", "series", "dict", "list"]
    parts: tuple[PredictionPart, ...]
    columns: tuple[str | int, ...] = ()
    keeps_index: bool = False
    lengths: str = ""


class GraphSpec(Spec):
    """Everything that scoring needs beside the ONNX file.

    ``classes``: of a classifier, as text, in the order of the columns of its "probabilities".
    """

    feeds: tuple[FeedSpec, ...]
    prediction: PredictionSpec
    outputs: tuple[str, ...]  # every graph output, in the graph's order
    classes: tuple[str, ...] = ()
