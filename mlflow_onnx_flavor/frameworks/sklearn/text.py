"""Missing text: the empty string, since ONNX has no other sign for it.

Scoring feeds "" for a missing text, so the graph must treat "" as scikit-learn treats None and NaN:
imputers replace it, encoders take it for the category of missing values.  Our converters of both do
so (`converters.transformers_imputers`, `converters.transformers_encoders`).
"""

from __future__ import annotations

from typing import Any

import numpy as np

MISSING_TEXT = ""


def is_missing(value: Any) -> bool:
    """Return whether ``value`` is None, NaN or pandas' NA."""
    if value is None:
        return True
    if isinstance(value, float | np.floating):
        return bool(np.isnan(value))
    return str(value) == "<NA>"
