"""CatBoost on categories where it is logged as a scikit-learn model: alone, or all of a pipeline.

skl2onnx gives an estimator one matrix, which cannot hold texts beside numbers.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from mlflow_onnx_flavor.frameworks.base import Export, LoadedSource, MoreRows, Strategy
from mlflow_onnx_flavor.inputs import Inputs


def is_it(model: Any) -> bool:
    """Whether a scikit-learn model hands its rows, unchanged, to CatBoost with categories."""
    estimator = _estimator(model)
    found = getattr(estimator, "get_cat_feature_indices", None)
    return found is not None and len(found()) > 0


def strategies(
    source: LoadedSource, example: Inputs, evaluation: MoreRows, answer: str
) -> list[Strategy]:
    """Those of CatBoost itself.  ``answer``: the output that the pyfunc answers with."""
    # Only here is CatBoost known to be installed.
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
    """What is left of a pipeline without the steps that pass rows on; None where others remain."""
    while hasattr(model, "steps"):
        *before, (_, last) = model.steps
        if any(step not in (None, "passthrough") for _, step in before):
            return None
        model = last
    return model
