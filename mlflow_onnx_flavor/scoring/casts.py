"""Values as the dtype that the graph wants, or an error that names the column: never a silent loss.

Floats are narrowed freely (float64 to float32 was decided when the model was converted); everything
else must keep its value: no fraction into an integer, no integer that is too large, no missing
value into anything but a float (NaN) or a text ("", as ONNX has no other).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

_NUMBERS = "fiub"


def as_dtype(values: Any, dtype: np.dtype, name: str) -> np.ndarray:
    """``values``, a numpy or pandas array of any shape, as a numpy array of ``dtype``.

    ``dtype`` object means text.  ``name`` is that of the column or input, for the message of the
    ValueError that is raised where a value would not survive.
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
    """From pandas' own arrays: masked, Arrow, string, categorical, sparse, dates."""
    if isinstance(values, pd.Categorical):
        return as_dtype(np.asarray(values), dtype, name)
    if dtype.kind == "O" and isinstance(values.dtype, pd.StringDtype):
        return values.to_numpy(dtype=object, na_value="")
    kind = values.dtype.kind
    if dtype.kind == "O" or kind == "O":
        return as_dtype(values.to_numpy(dtype=object), dtype, name)
    if kind not in _NUMBERS:
        raise ValueError(f"{name!r} holds {values.dtype}, where the model takes {dtype}")
    if dtype.kind == "f":
        return values.to_numpy(dtype=dtype, na_value=np.nan)
    if values.isna().any():
        raise ValueError(_missing(name, dtype))
    return as_dtype(values.to_numpy(), dtype, name)


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
    missing = pd.isna(values)
    if missing.any():
        if dtype.kind != "f":
            raise ValueError(_missing(name, dtype))
        values = np.where(missing, np.nan, values)
    if dtype.kind == "f":
        return _parsed(values, dtype, name)
    # numpy's own cast from objects would cut 1.5 to 1, so it names the common dtype first.
    common = np.array(values.tolist()).reshape(values.shape)
    if common.dtype.kind == "O":  # decimals, or integers beyond 64 bits
        raise ValueError(f"{name!r} holds {common.flat[0]!r}, where the model takes {dtype}")
    return as_dtype(common, dtype, name)


def _parsed(values: np.ndarray, dtype: np.dtype, name: str) -> np.ndarray:
    try:
        return values.astype(dtype)
    except (TypeError, ValueError, OverflowError) as error:
        raise ValueError(f"{name!r} must hold numbers for {dtype}: {error}") from error


def _texts(values: np.ndarray, name: str) -> np.ndarray:
    """Texts as objects; onnxruntime would read None as "None"."""
    kind = values.dtype.kind
    if kind == "S":
        try:
            values = np.strings.decode(values, "utf-8")
        except UnicodeDecodeError as error:
            raise ValueError(f"{name!r} holds bytes that are no UTF-8 text: {error}") from error
    if kind != "O":
        values = values.astype(object)
    missing = pd.isna(values)
    return np.where(missing, "", values) if missing.any() else values


def _missing(name: str, dtype: np.dtype) -> str:
    return f"{name!r} has missing values, which {dtype} cannot hold"
