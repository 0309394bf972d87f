"""What is done about training rows that are equally far, of which a library takes any.

The graph takes the first.  A model that meets such rows now and then is converted, and that is told
with the conversion; one that meets them often is refused.
"""

from __future__ import annotations

from mlflow_onnx_flavor.errors import NotExportableError
from mlflow_onnx_flavor.frameworks.conversion_warnings import tell

# Of the shares of undecided rows, nothing is told up to the first (what `conversion` lets differ as
# well), and the model is refused beyond the second.
_FEW_UNDECIDED, _MOST_UNDECIDED = 0.001, 0.05


def tell_ties(share: float, ties: str, refusal: str, remedy: str) -> None:
    """Tell, or refuse, what ``ties`` says; ``share``: of the training rows, those left undecided.

    ``refusal``: why there is nothing to convert; ``remedy``: what to do about it.
    """
    if share > _MOST_UNDECIDED:
        raise NotExportableError(f"{ties}, so {refusal}: {remedy}")
    if share > _FEW_UNDECIDED:
        tell(f"{ties}, and the graph takes the first: where that matters, {remedy}")
