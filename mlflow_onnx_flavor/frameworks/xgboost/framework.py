"""XGBoost: boosters and scikit-learn wrappers as `mlflow.xgboost` stores them.

Outputs: "label" and "probabilities" of a wrapped classifier; "prediction" of a wrapped regressor
or ranker and of a booster, whose predict gives probabilities itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import mlflow.xgboost
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
    flat,
    label_at,
    write,
)
from mlflow_onnx_flavor.frameworks.boosting.base import BoostingFramework, is_classifier
from mlflow_onnx_flavor.frameworks.boosting.rows import (
    add_rows,
    category_columns,
    require_known_columns,
)
from mlflow_onnx_flavor.frameworks.xgboost import categories as xgboost_categories
from mlflow_onnx_flavor.frameworks.xgboost import trees as xgboost_trees
from mlflow_onnx_flavor.inputs import Inputs
from mlflow_onnx_flavor.onnx_graph.builder import GraphParts


class XGBoost(BoostingFramework):
    """The XGBoost framework."""

    estimators = MappingProxyType(
        {
            "XGBClassifier": True,
            "XGBRFClassifier": True,
            "XGBRegressor": False,
            "XGBRFRegressor": False,
            "XGBRanker": False,
        }
    )
    rounds_rows = True

    def load(self, path: Path, flavor: Mapping[str, Any]) -> LoadedSource:
        """Load the model that `mlflow.xgboost` stored."""
        return LoadedSource(mlflow.xgboost.load_model(str(path)), pyfunc_of(path), path, flavor)

    def strategies(
        self, source: LoadedSource, example: Inputs, evaluation: MoreRows = no_more_rows
    ) -> list[Strategy]:
        """Return one strategy: XGBoost compares in float32 itself, so float32 rows lose nothing."""

        def export(path: Path) -> Export:
            return _export(source, example, path)

        why = "XGBoost itself rounds rows to float32"
        return [Strategy("trees_float32", why, export, "mlflow-onnx-flavor")]

    def add_answers(
        self, parts: GraphParts, rows: str, model: Any, classes: Any = None
    ) -> dict[str, Value]:
        """Add the predictions of ``model``, a booster or a wrapper, and return them by name.

        ``rows``: float64 values already rounded to float32.  ``classes``: labels to answer with in
        place of the wrapper's own, which are 0, 1, ...
        """
        wrapped = hasattr(model, "get_booster")
        parsed = xgboost_trees.parsed(_booster(model), _best_rounds(model) if wrapped else None)
        missing = float(model.missing) if wrapped else np.nan
        margins = xgboost_trees.add_margins(parts, rows, parsed, missing)
        predicted = xgboost_trees.add_predictions(parts, margins, parsed.objective)
        gives_class = parsed.objective == "multi:softmax"
        columns = 1 if gives_class else parsed.outputs
        if not is_classifier(model):
            return {PREDICTION: answered(parts, predicted, columns, np.float32)}
        if gives_class:
            label = Value(flat(parts, parts.cast(predicted, np.int32)), np.int32, 0)
            every = parts.add("Softmax", margins, axis=1)
        elif columns > 1 and model.n_classes_ == 2:  # several labels at once
            label = Value(
                parts.cast(_above_half(parts, predicted), np.float64), np.float64, columns
            )
            every = predicted
        else:
            known = np.arange(model.n_classes_) if classes is None else classes
            if columns > 1:
                best = parts.add("ArgMax", predicted, axis=1, keepdims=0)
                every = predicted
            else:
                best = flat(parts, parts.cast(_above_half(parts, predicted), np.int64))
                every = both_classes(parts, predicted)
            label = label_at(parts, best, known)
        return {LABEL: label, PROBABILITIES: Value(every, np.float32, max(parsed.outputs, 2))}


def _above_half(parts: GraphParts, probabilities: str) -> str:
    return parts.add("Greater", probabilities, parts.constant(0.5, np.float32))


def _booster(model: Any) -> Any:
    return model.get_booster() if hasattr(model, "get_booster") else model


def _best_rounds(model: Any) -> int | None:
    """Return the number of rounds that the wrapper's predict uses; None means all."""
    if model.booster == "gblinear":
        return None
    try:
        return model.best_iteration + 1
    except AttributeError:  # the wrapper's sign that training was not stopped early
        return None


def _export(source: LoadedSource, example: Inputs, path: Path) -> Export:
    categories = xgboost_categories.known(_booster(source.native), category_columns(example))
    require_known_columns(example, "XGBoost", categories)
    parts = GraphParts()
    feeds, inputs, rows = add_rows(parts, example, "float32", categories)
    written = write(parts, path, inputs, framework.add_answers(parts, rows, source.native))
    return Export(feeds=feeds, outputs=written, prediction=(written[0],))


framework = XGBoost()
