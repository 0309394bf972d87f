"""CatBoost with categories inside a scikit-learn model: the model itself or a whole pipeline.

skl2onnx gives an estimator one matrix, which cannot hold texts beside numbers, so such a model is
converted by the CatBoost framework.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from mlflow_onnx_flavor.frameworks.base import Export, LoadedSource, MoreRows, Strategy
from mlflow_onnx_flavor.inputs import Inputs


def is_it(model: Any) -> bool:
    """Return whether a scikit-learn model passes unchanged rows to CatBoost with categories."""
    estimator = _estimator(model)
    found = getattr(estimator, "get_cat_feature_indices", None)
    return found is not None and len(found()) > 0


def strategies(
    source: LoadedSource, example: Inputs, evaluation: MoreRows, answer: str
) -> list[Strategy]:
    """Return the strategies of the CatBoost framework.

    ``answer``: the output that the pyfunc returns.
    """
    # This import stands here since CatBoost is known to be installed only at this point.
    from mlflow_onnx_flavor.frameworks.catboost.framework import framework as catboost

    alone = replace(source, native=_estimator(source.native))
    return [
        replace(each, export=_answering(each, answer))
        for each in catboost.strategies(alone, example, evaluation)
    ]


def _answering(strategy: Strategy, answer: str) -> Any:
    def export(path: Path) -> Export:
        return replace(strategy.export(path), prediction=(answer,))

    return export


def _estimator(model: Any) -> Any:
    """Return a pipeline's last step if all others are passthrough, else None."""
    while hasattr(model, "steps"):
        *before, (_, last) = model.steps
        if any(step not in (None, "passthrough") for _, step in before):
            return None
        model = last
    return model
