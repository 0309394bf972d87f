"""LightGBM: boosters and scikit-learn wrappers as `mlflow.lightgbm` stores them.

Outputs: "label" and "probabilities" of a wrapped classifier; "prediction" of a wrapped regressor
or ranker and of a booster, whose predict gives probabilities itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import mlflow.lightgbm
import numpy as np

from mlflow_onnx_flavor.frameworks.base import (
    Export,
    LoadedSource,
    MoreRows,
    Strategy,
    no_more_rows,
    pyfunc_of,
)
from mlflow_onnx_flavor.frameworks.boosting.answers import (
    LABEL,
    PREDICTION,
    PROBABILITIES,
    Value,
    answered,
    both_classes,
    label_at,
    write,
)
from mlflow_onnx_flavor.frameworks.boosting.base import BoostingFramework, is_classifier
from mlflow_onnx_flavor.frameworks.boosting.rows import (
    add_rows,
    category_columns,
    require_known_columns,
)
from mlflow_onnx_flavor.frameworks.lightgbm import trees as lightgbm_trees
from mlflow_onnx_flavor.inputs import Inputs
from mlflow_onnx_flavor.onnx_graph.builder import GraphParts


class LightGBM(BoostingFramework):
    """The LightGBM framework."""

    estimators = MappingProxyType(
        {"LGBMClassifier": True, "LGBMRegressor": False, "LGBMRanker": False}
    )
    has_scores = True

    def load(self, path: Path, flavor: Mapping[str, Any]) -> LoadedSource:
        """Load the model that `mlflow.lightgbm` stored."""
        return LoadedSource(mlflow.lightgbm.load_model(str(path)), pyfunc_of(path), path, flavor)

    def strategies(
        self, source: LoadedSource, example: Inputs, evaluation: MoreRows = no_more_rows
    ) -> list[Strategy]:
        """Return one strategy: LightGBM's own thresholds, compared in float64 as LightGBM does."""

        def export(path: Path) -> Export:
            return _export(source, example, path)

        why = "LightGBM's own float64 thresholds and leaves"
        return [Strategy("trees_float64", why, export, "mlflow-onnx-flavor")]

    def add_answers(
        self, parts: GraphParts, rows: str, model: Any, classes: Any = None
    ) -> dict[str, Value]:
        """Add the predictions of ``model``, a booster or a wrapper, and return them by name.

        ``rows``: float64.  ``classes``: labels to answer with in place of the model's own.
        """
        parsed = lightgbm_trees.parsed(getattr(model, "booster_", model))
        raw = lightgbm_trees.add_raw(parts, rows, parsed)
        predicted = lightgbm_trees.add_predictions(parts, raw, parsed)
        if not is_classifier(model):
            return {PREDICTION: answered(parts, predicted, parsed.outputs, np.float64)}
        if callable(
            getattr(model, "_objective", None)
        ):  # a custom objective's wrapper returns raw scores for everything
            scores = answered(parts, raw, parsed.outputs, np.float64)
            return {LABEL: scores, PROBABILITIES: scores}
        every = both_classes(parts, predicted) if parsed.outputs == 1 else predicted
        best = parts.add("ArgMax", every, axis=1, keepdims=0)
        return {
            LABEL: label_at(parts, best, model.classes_ if classes is None else classes),
            PROBABILITIES: Value(every, np.float64, max(parsed.outputs, 2)),
        }

    def add_scores(self, parts: GraphParts, rows: str, model: Any) -> str:
        """Add the raw scores of each class, float64 of shape (rows, classes).

        Two classes have opposite scores.
        """
        parsed = lightgbm_trees.parsed(model.booster_)
        raw = lightgbm_trees.add_raw(parts, rows, parsed)
        if parsed.outputs > 1:
            return raw
        return parts.add("Concat", parts.add("Neg", raw), raw, axis=1)


def _export(source: LoadedSource, example: Inputs, path: Path) -> Export:
    categories = _categories(source.native, example)
    require_known_columns(example, "LightGBM", categories)
    parts = GraphParts()
    # LightGBM takes frames as they are but rounds arrays of integers to float32.
    rounded = isinstance(example.data, np.ndarray) and example.data.dtype.kind != "f"
    feeds, inputs, rows = add_rows(parts, example, "float32" if rounded else "float64", categories)
    written = write(parts, path, inputs, framework.add_answers(parts, rows, source.native))
    return Export(feeds=feeds, outputs=written, prediction=(written[0],))


def _categories(model: Any, example: Inputs) -> dict[str, list[Any]]:
    """Return column -> its categories; LightGBM stores them in the order of these columns."""
    booster = getattr(model, "booster_", model)
    known = booster.pandas_categorical or []
    columns = category_columns(example)
    return dict(zip(columns, known, strict=True)) if len(columns) == len(known) else {}


framework = LightGBM()
