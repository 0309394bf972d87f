"""Cast values to the dtype that the graph takes, or raise an error that names the column.

No value is lost silently.  Floats are narrowed freely: float64 to float32 was decided when the
model was converted, and sources that narrow them too turn values that are too large into infinity
as well.  Everything else must keep its value: no fraction becomes an integer, no integer overflows,
no missing value becomes anything but NaN in a float or "" in a text (ONNX has no missing text), and
nothing but text becomes text: no dates, lists or columns of floats.
"""

from __future__ import annotations

import numbers
from contextlib import suppress
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd

_NUMBERS = "fiub"


def as_dtype(values: Any, dtype: np.dtype, name: str) -> np.ndarray:
    """Return ``values``, a numpy or pandas array of any shape, as a numpy array of ``dtype``.

    ``dtype`` object means text.  ``name`` is that of the column or input, for the message of the
    ValueError that is raised where a value would be lost.
    """
    if not isinstance(values, np.ndarray):
        return _of_extension(values, dtype, name)
    if dtype.kind == "O":
        return _texts(values, name)
    if values.dtype == dtype:
        return values
    kind = values.dtype.kind
    if kind in _NUMBERS:
        return values.astype(dtype) if dtype.kind == "f" else _exact(values, dtype, name)
    if kind == "O":
        return _of_objects(values, dtype, name)
    if kind in "UST" and dtype.kind != "b":
        return _parsed(values, dtype, name)
    raise ValueError(f"{name!r} holds {values.dtype}, where the model takes {dtype}")


def _of_extension(values: Any, dtype: np.dtype, name: str) -> np.ndarray:
    """Cast pandas' own arrays: masked, Arrow, string, categorical, sparse, dates."""
    if isinstance(values, pd.Categorical):
        return _of_categories(values, dtype, name)
    kind = values.dtype.kind
    if dtype.kind == "O" and (kind == "U" or isinstance(values.dtype, pd.StringDtype)):
        return values.to_numpy(dtype=object, na_value="")
    found = _of_masked(values, dtype, name)
    if found is not None:
        return found
    if dtype.kind == "O" and kind in "fMm":
        return _texts_of_nothing(values.isna(), values.dtype, name)
    if dtype.kind == "O" or kind == "O":
        return as_dtype(values.to_numpy(dtype=object), dtype, name)
    if kind not in _NUMBERS:
        raise ValueError(f"{name!r} holds {values.dtype}, where the model takes {dtype}")
    if dtype.kind == "f":
        return values.to_numpy(dtype=dtype, na_value=np.nan)
    if values.isna().any():
        raise ValueError(_missing(name, dtype))
    return as_dtype(values.to_numpy(), dtype, name)


def _of_categories(values: pd.Categorical, dtype: np.dtype, name: str) -> np.ndarray:
    """Cast each row's category; pandas itself would make categories floats where one is missing."""
    known, codes = np.asarray(values.categories), values.codes
    missing = codes < 0
    if not missing.any():
        return as_dtype(known[codes], dtype, name)
    if dtype.kind not in "fO":
        raise ValueError(_missing(name, dtype))
    found = np.full(len(codes), "" if dtype.kind == "O" else np.nan, dtype)
    found[~missing] = as_dtype(known[codes[~missing]], dtype, name)
    return found


def _of_masked(values: Any, dtype: np.dtype, name: str) -> np.ndarray | None:
    """Cast pandas' nullable numbers if none is missing: ten times as fast as pandas' own way.

    It reads attributes that pandas keeps private; the result is None where they do not exist or a
    value is missing.
    """
    data, mask = getattr(values, "_data", None), getattr(values, "_mask", None)
    if type(data) is not np.ndarray or type(mask) is not np.ndarray or dtype.kind == "O":
        return None
    return None if mask.any() else as_dtype(data, dtype, name)


def _exact(values: np.ndarray, dtype: np.dtype, name: str) -> np.ndarray:
    if np.can_cast(values.dtype, dtype, "safe"):
        return values.astype(dtype)
    wide = values.astype(np.float64) if values.dtype.kind == "f" else values
    if dtype.kind == "b":
        fits = (wide == 0) | (wide == 1)
    else:
        limits = np.iinfo(dtype)
        if wide.dtype.kind == "f":  # float(max) rounds up to a power of two that is one too many
            fits = (wide >= float(limits.min)) & (wide < float(limits.max) + 1)
            fits &= wide == np.trunc(wide)
        else:
            fits = (wide >= limits.min) & (wide <= limits.max)
    if not fits.all():
        first = values[~fits].flat[0]
        if first != first:
            raise ValueError(_missing(name, dtype))
        raise ValueError(f"{name!r} holds {first}, which does not fit {dtype}")
    return values.astype(dtype)


def _of_objects(values: np.ndarray, dtype: np.dtype, name: str) -> np.ndarray:
    if dtype.kind == "f":
        with suppress(TypeError, ValueError, OverflowError):  # some are missing or not numbers
            return values.astype(dtype)
    missing = pd.isna(values)
    if missing.any():
        if dtype.kind != "f":
            raise ValueError(_missing(name, dtype))
        values = np.where(missing, np.nan, values)
    if dtype.kind == "f":
        return _parsed(values, dtype, name)
    # numpy's own cast from objects would cut 1.5 to 1, so it names the common dtype first.
    common = np.array(values.tolist()).reshape(values.shape)
    if common.dtype.kind in "fO" and all(map(_is_number, values.flat)):
        return _whole(values, dtype, name)  # also numbers beyond the precision of float64
    if common.dtype.kind == "O":
        raise ValueError(f"{name!r} holds {common.flat[0]!r}, where the model takes {dtype}")
    return as_dtype(common, dtype, name)


def _whole(values: np.ndarray, dtype: np.dtype, name: str) -> np.ndarray:
    """Cast Python's numbers, Decimals among them, to integers or booleans."""
    limits = None if dtype.kind == "b" else np.iinfo(dtype)
    low, high = (0, 1) if limits is None else (int(limits.min), int(limits.max))
    for each in values.flat:
        if not (low <= each <= high) or each != int(each):
            raise ValueError(f"{name!r} holds {each}, which does not fit {dtype}")
    return np.array([int(each) for each in values.flat], dtype).reshape(values.shape)


def _is_number(value: Any) -> bool:
    return isinstance(value, numbers.Real | Decimal | np.bool_)


def _parsed(values: np.ndarray, dtype: np.dtype, name: str) -> np.ndarray:
    try:
        return values.astype(dtype)
    except (TypeError, ValueError, OverflowError) as error:
        raise ValueError(f"{name!r} must hold numbers for {dtype}: {error}") from error


def _texts(values: np.ndarray, name: str) -> np.ndarray:
    """Return texts as objects; onnxruntime would read None as "None", and bytes as "b'...'"."""
    kind = values.dtype.kind
    if kind in "fMm":
        return _texts_of_nothing(pd.isna(values), values.dtype, name)
    if kind not in "OUTSiub":
        raise ValueError(f"{name!r} holds {values.dtype}, where the model takes text")
    if kind == "S":
        try:
            return np.strings.decode(values, "utf-8").astype(object)
        except UnicodeDecodeError as error:
            raise ValueError(_no_text(name, error)) from error
    if kind != "O":
        values = values.astype(object)
    if pd.api.types.infer_dtype(values.ravel(), skipna=False) in ("string", "empty"):
        return values
    missing = pd.isna(values)
    if missing.any():
        values = np.where(missing, "", values)
    if pd.api.types.infer_dtype(values.ravel(), skipna=False) == "string":
        return values
    texts = np.empty(values.shape, object)
    found = [_text(each, name) for each in values.flat]
    texts.flat = found  # type: ignore[misc, assignment]  # numpy's stubs lack the setter
    return texts


def _text(value: Any, name: str) -> Any:
    if isinstance(value, bytes):
        try:
            return value.decode("utf-8")
        except UnicodeDecodeError as error:
            raise ValueError(_no_text(name, error)) from error
    if isinstance(value, str) or _is_number(value):  # categories may mix numbers and text
        return value
    raise ValueError(f"{name!r} holds {value!r}, where the model takes text")


def _texts_of_nothing(missing: np.ndarray, held: Any, name: str) -> np.ndarray:
    """Return empty texts for a column of missing values, which pandas reads as floats."""
    if not missing.all():
        raise ValueError(f"{name!r} holds {held}, where the model takes text")
    return np.full(np.shape(missing), "", object)


def _no_text(name: str, error: UnicodeDecodeError) -> str:
    return f"{name!r} holds bytes that are no UTF-8 text: {error}"


def _missing(name: str, dtype: np.dtype) -> str:
    return f"{name!r} has missing values, which {dtype} cannot hold"
