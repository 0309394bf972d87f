"""A pyfunc's answer, described so that it crosses a process boundary and can be compared.

A consumer sees more than values: the container, the dtype, column names, the index.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from mlflow_onnx_flavor.schemas.evidence import FormDifference

Answer = Mapping[str, Any]


def describe(prediction: Any) -> dict[str, Any]:
    """Return ``prediction`` as ``{"container", "keys", "index", "parts"}``.

    ``keys``: column names, dictionary keys or positions in a list of several outputs, as Keras
    returns them, in order ("" for a bare array).  ``parts``: one for each key, ``{"type": "ndarray"
    or "list", "dtype", "shape", "values"}`` with values as an array.  ``index``: the index of a
    frame or series as an array, else None.
    """
    if isinstance(prediction, pd.DataFrame):
        keys = [key.item() if isinstance(key, np.generic) else key for key in prediction.columns]
        parts = [_part(prediction.iloc[:, position]) for position in range(len(keys))]
        return _answer("dataframe", keys, parts, prediction.index)
    if isinstance(prediction, pd.Series):
        return _answer("series", [prediction.name or ""], [_part(prediction)], prediction.index)
    if isinstance(prediction, Mapping):
        return _answer("dict", list(prediction), [_part(each) for each in prediction.values()])
    container = "list" if isinstance(prediction, list | tuple) else "ndarray"
    if container == "list" and prediction and all(map(_is_output, prediction)):
        keys = [str(position) for position in range(len(prediction))]
        return _answer(container, keys, [_part(each) for each in prediction])
    return _answer(container, [""], [_part(prediction)])


def compare_forms(source: Answer, candidate: Answer) -> list[FormDifference]:
    """Return how the form of the candidate's answer differs from the source's.

    The list is empty if a consumer sees no difference.
    """
    differences: list[FormDifference] = []

    def compare(what: str, expected: Any, found: Any) -> bool:
        same = bool(expected == found)
        if not same:
            differences.append(
                FormDifference(what=what, source=str(expected), candidate=str(found))
            )
        return same

    if not compare("container", source["container"], candidate["container"]):
        return differences
    if not compare("columns", list(source["keys"]), list(candidate["keys"])):
        return differences
    for key, expected, found in zip(
        source["keys"], source["parts"], candidate["parts"], strict=True
    ):
        of = f" of {key!r}" if key != "" else ""
        compare(f"type{of}", expected["type"], found["type"])
        compare(f"dtype{of}", expected["dtype"], found["dtype"])
        compare(f"shape{of}", tuple(expected["shape"]), tuple(found["shape"]))
    if source["index"] is not None:
        compare("index", list(source["index"]), list(candidate["index"]))
    return differences


def _answer(
    container: str, keys: list[Any], parts: list[dict[str, Any]], index: Any = None
) -> dict[str, Any]:
    return {
        "container": container,
        "keys": keys,
        "index": None if index is None else _plain(index.to_numpy()),
        "parts": parts,
    }


def _is_output(value: Any) -> bool:
    """Return whether a list of such values holds one output in each place, rather than a row."""
    return isinstance(value, np.ndarray) and value.ndim > 1


def _part(values: Any) -> dict[str, Any]:
    is_list = isinstance(values, list | tuple)
    array = values.to_numpy() if isinstance(values, pd.Series) else np.asarray(values)
    dtype = str(values.dtype) if isinstance(values, pd.Series) else str(array.dtype)
    return {
        "type": "list" if is_list else "ndarray",
        "dtype": dtype,
        "shape": list(array.shape),
        "values": _plain(array),
    }


def _plain(array: np.ndarray) -> np.ndarray:
    """Return text as objects, so that only one kind of text crosses a process boundary."""
    return array.astype(object) if array.dtype.kind in "USO" else array
