"""The boolean columns of a model, on which numpy's arithmetic differs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import numpy as np
import pandas as pd

# The names, or numbers, of the model's boolean columns.
_truths: ContextVar[frozenset[Any]] = ContextVar("truths", default=frozenset())


@contextmanager
def truth_values_in(data: Any) -> Iterator[None]:
    """Let `holds_truth_values` answer for ``data``, a frame or an array, inside the context."""
    if isinstance(data, pd.DataFrame):
        dtypes = data.dtypes.items()
        found: Iterable[Any] = [n for n, dtype in dtypes if pd.api.types.is_bool_dtype(dtype)]
    else:
        found = range(np.shape(data)[-1]) if getattr(data, "dtype", None) == np.bool_ else ()
    token = _truths.set(frozenset(found))
    try:
        yield
    finally:
        _truths.reset(token)


def holds_truth_values(name: Any) -> bool:
    """Return whether the column of that name, or number, is boolean."""
    return name in _truths.get()
