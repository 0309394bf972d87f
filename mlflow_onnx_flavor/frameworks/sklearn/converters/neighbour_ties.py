"""The treatment of equally far training rows, any of which a library may take.

The graph takes the first.  A model that rarely meets such rows is converted with a conversion
warning; one that meets them often is refused.
"""

from __future__ import annotations

from mlflow_onnx_flavor.errors import NotExportableError
from mlflow_onnx_flavor.frameworks.conversion_warnings import tell

# Limits on the share of undecided rows: up to the first there is no warning (see
# `conversion.convert.MAX_DISAGREEMENT_RATE`), and beyond the second the model is refused.
_FEW_UNDECIDED, _MOST_UNDECIDED = 0.001, 0.05


def tell_ties(share: float, ties: str, refusal: str, remedy: str) -> None:
    """Warn of ``ties``, or raise NotExportableError, depending on ``share``.

    ``ties``: the sentence that describes them.  ``share``: the share of training rows left
    undecided.  ``refusal``: why there is nothing to convert; ``remedy``: what to do about it.
    """
    if share > _MOST_UNDECIDED:
        raise NotExportableError(f"{ties}, so {refusal}: {remedy}")
    if share > _FEW_UNDECIDED:
        tell(f"{ties}, and the graph takes the first: where that matters, {remedy}")
