"""Missing text: ONNX has no other sign for it than the empty string.

Scoring feeds "" where a text is missing, so the graph must treat "" as scikit-learn treats None and
NaN: in imputers as what to replace, in encoders as the category that stands for a missing value.
Our converters of both do so (`sklearn_converters`).
"""

from __future__ import annotations

from typing import Any

import numpy as np

MISSING_TEXT = ""


def is_missing(value: Any) -> bool:
    """Whether ``value`` is None, NaN or pandas' NA."""
    if value is None:
        return True
    if isinstance(value, float | np.floating):
        return bool(np.isnan(value))
    return str(value) == "<NA>"
