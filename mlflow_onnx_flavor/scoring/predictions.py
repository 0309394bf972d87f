"""Turn the graph's outputs into the prediction that the source's pyfunc would have returned."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

Outputs = Sequence[np.ndarray]


def prediction_maker(spec: Mapping[str, Any]) -> tuple[list[str], Callable[[Outputs, Any], Any]]:
    """Return the graph outputs that the prediction needs, and the function that makes it.

    ``spec``: the ``prediction`` of the graph specification.  The function takes those outputs, in
    their order, and the input data, whose index a frame may keep.
    """
    parts = [_part_maker(part) for part in spec["parts"]]
    names = [part["output"] for part in spec["parts"]]
    keys = [part.get("key") or part["output"] for part in spec["parts"]]
    container, columns = spec["container"], list(spec.get("columns") or ())
    keeps_index, lengths = bool(spec.get("keeps_index")), spec.get("lengths")

    def array(outputs: Outputs, _data: Any) -> Any:
        return parts[0](outputs[0])

    def arrays(outputs: Outputs, _data: Any) -> list[Any]:
        return [part(output) for part, output in zip(parts, outputs, strict=True)]

    def of_first_row(outputs: Outputs, _data: Any) -> np.ndarray:
        values, length = outputs
        return parts[0](values[0, : int(length[0])])

    def dictionary(outputs: Outputs, _data: Any) -> dict[str, Any]:
        return {key: part(output) for key, part, output in zip(keys, parts, outputs, strict=True)}

    def frame(outputs: Outputs, data: Any) -> pd.DataFrame:
        index = _index(data) if keeps_index else None
        if len(parts) == 1:
            values = parts[0](outputs[0])
            return pd.DataFrame(values, columns=columns or None, index=index)
        made = {
            column: part(output)
            for column, part, output in zip(columns, parts, outputs, strict=True)
        }
        return pd.DataFrame(made, index=index)

    def series(outputs: Outputs, data: Any) -> pd.Series:
        index = _index(data) if keeps_index else None
        name = columns[0] if columns and columns[0] != "" else None
        return pd.Series(parts[0](outputs[0]), index=index, name=name)

    makers = {
        "ndarray": array,
        "list": array if all(part.get("as_list") for part in spec["parts"]) else arrays,
        "dict": dictionary,
        "dataframe": frame,
        "series": series,
    }
    if lengths:
        return [*names, lengths], of_first_row
    return names, makers[container]


def every_output(names: list[str]) -> dict[str, Any]:
    """Return the specification for a graph of unknown origin: a dictionary of all outputs."""
    parts = [{"output": name, "dtype": "", "shape": None, "key": name} for name in names]
    return {"container": "dict", "parts": parts}


def _part_maker(part: Mapping[str, Any]) -> Callable[[np.ndarray], Any]:
    dtype = np.dtype(part["dtype"]) if part["dtype"] else None
    shape = part.get("shape")
    # A shape with -1 has axes that vary beside the rows, which numpy cannot infer: it is kept.
    target = None if shape is None or -1 in shape else (-1, *shape)
    as_list = bool(part.get("as_list"))

    def make(array: np.ndarray) -> Any:
        if target is not None and array.shape[1:] != target[1:]:
            array = array.reshape((len(array), *target[1:]))
        if dtype is not None and array.dtype != dtype:
            array = _texts(array, dtype) if dtype.kind == "U" else array.astype(dtype)
        return array.tolist() if as_list else array

    return make


def _texts(array: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """Return texts at the source's width, or wider: a label is never cut off."""
    texts = array.astype(np.str_)
    return texts.astype(dtype) if texts.dtype.itemsize < dtype.itemsize else texts


def _index(data: Any) -> Any:
    return data.index if isinstance(data, pd.DataFrame | pd.Series) else None
