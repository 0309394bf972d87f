"""Which columns of a model hold truth values, with which numpy computes in its own way."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import numpy as np
import pandas as pd

# The names, or numbers, of the model's columns that hold truth values.
_truths: ContextVar[frozenset[Any]] = ContextVar("truths", default=frozenset())


@contextmanager
def truth_values_in(data: Any) -> Iterator[None]:
    """Within, `holds_truth_values` tells of the columns of ``data``, a frame or an array."""
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
    """Whether the column of that name, or number, does."""
    return name in _truths.get()
