"""CatBoost: classifiers, regressors, rankers and plain models as `mlflow.catboost` stores them.

Outputs: "label" and "probabilities" of a classifier; "prediction" of everything else.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import mlflow.catboost
import numpy as np

from mlflow_onnx_flavor.errors import NotExportableError
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
from mlflow_onnx_flavor.frameworks.boosting.rows import add_rows, require_known_columns
from mlflow_onnx_flavor.frameworks.catboost import rows as catboost_rows
from mlflow_onnx_flavor.frameworks.catboost import trees as catboost_trees
from mlflow_onnx_flavor.frameworks.catboost.trees import CatBoostModel
from mlflow_onnx_flavor.inputs import Inputs
from mlflow_onnx_flavor.onnx_graph.builder import GraphParts

_EXPONENTIAL = ("Poisson", "Tweedie")
_SEVERAL_LABELS = ("MultiLogloss", "MultiCrossEntropy")


class CatBoost(BoostingFramework):
    """The CatBoost framework."""

    estimators = MappingProxyType({"CatBoostClassifier": True, "CatBoostRegressor": False})
    rounds_rows = True

    def load(self, path: Path, flavor: Mapping[str, Any]) -> LoadedSource:
        """Load the model that `mlflow.catboost` stored."""
        return LoadedSource(mlflow.catboost.load_model(str(path)), pyfunc_of(path), path, flavor)

    def strategies(
        self, source: LoadedSource, example: Inputs, evaluation: MoreRows = no_more_rows
    ) -> list[Strategy]:
        """Return one strategy: float32 rows lose nothing, since CatBoost rounds to float32."""

        def export(path: Path) -> Export:
            return _export(source, example, evaluation, path)

        why = "CatBoost itself rounds rows to float32"
        return [Strategy("trees_float32", why, export, "mlflow-onnx-flavor")]

    def add_answers(
        self, parts: GraphParts, rows: str, model: Any, classes: Any = None
    ) -> dict[str, Value]:
        """Add the predictions of ``model`` and return them by name.

        ``rows``: float64 values already rounded to float32.  ``classes``: labels to answer with in
        place of the model's own; the labels then have shape (rows,), which a scikit-learn pipeline
        needs.
        """
        _require_no_categories(model)
        parsed = catboost_trees.parsed(catboost_trees.written(model))
        return _answers(parts, rows, model, parsed, classes)


def _answers(
    parts: GraphParts, rows: str, model: Any, parsed: CatBoostModel, classes: Any = None
) -> dict[str, Value]:
    raw = catboost_trees.add_raw(parts, rows, parsed)
    if not is_classifier(model):
        predicted = _regression(parts, raw, parsed, model)
        return {PREDICTION: answered(parts, predicted, parsed.outputs, np.float64)}
    known = np.asarray(model.classes_ if classes is None else classes)
    if parsed.loss in _SEVERAL_LABELS:
        every = parts.add("Sigmoid", raw)
        above = parts.cast(_exceeds(parts, raw, parsed), np.int64)
        return {
            LABEL: Value(above, np.int64, parsed.outputs),
            PROBABILITIES: Value(every, np.float64, parsed.outputs),
        }
    if parsed.outputs == 1:
        best = flat(parts, parts.cast(_exceeds(parts, raw, parsed), np.int64))
        every, label = both_classes(parts, parts.add("Sigmoid", raw)), label_at(parts, best, known)
    else:
        # With more than two classes CatBoost returns labels of shape (rows, 1).
        best = parts.add("ArgMax", raw, axis=1, keepdims=int(classes is None))
        one_column = label_at(parts, best, known)
        label = Value(one_column.name, one_column.dtype, int(classes is None))
        every = (
            parts.add("Sigmoid", raw)
            if parsed.loss == "MultiClassOneVsAll"
            else parts.add("Softmax", raw, axis=1)
        )
    return {LABEL: label, PROBABILITIES: Value(every, np.float64, max(parsed.outputs, 2))}


def _regression(parts: GraphParts, raw: str, parsed: CatBoostModel, model: Any) -> str:
    """Return a regressor's predictions; a plain CatBoost gives raw values whatever its loss."""
    if type(model).__name__ != "CatBoostRegressor":
        return raw
    if parsed.loss in _EXPONENTIAL:
        return parts.add("Exp", raw)
    if parsed.loss == "RMSEWithUncertainty":  # the mean and the logarithm of the standard deviation
        mean, logarithm = (parts.columns(raw, [each]) for each in (0, 1))
        doubled = parts.add("Add", logarithm, logarithm)
        return parts.add("Concat", mean, parts.add("Exp", doubled), axis=1)
    return raw


def _exceeds(parts: GraphParts, raw: str, parsed: CatBoostModel) -> str:
    threshold = parsed.class_threshold
    logit = -np.log(1.0 / threshold - 1.0)
    return parts.add("Greater", raw, parts.constant(logit, np.float64))


def _export(source: LoadedSource, example: Inputs, evaluation: MoreRows, path: Path) -> Export:
    model, parts = source.native, GraphParts()
    if not len(model.get_cat_feature_indices()):
        feeds, inputs, rows = add_rows(parts, example, "float32")
        answers = framework.add_answers(parts, rows, model)
        require_known_columns(example, "CatBoost")
    else:
        found = catboost_trees.written(model)
        given = [each for each in (example, evaluation()) if each is not None]
        feeds, inputs, rows, categories = catboost_rows.add_rows(parts, model, found, given)
        answers = _answers(parts, rows, model, catboost_trees.parsed(found, categories))
    written = write(parts, path, inputs, answers)
    return Export(feeds=feeds, outputs=written, prediction=(written[0],))


def _require_no_categories(model: Any) -> None:
    names = [str(model.feature_names_[at]) for at in model.get_cat_feature_indices()]
    if names:
        raise NotExportableError(
            f"the categorical features {', '.join(names)} reach CatBoost inside of a scikit-learn"
            " pipeline, where they are not converted; log the CatBoost model by itself, or encode"
            " them before it (OrdinalEncoder or TargetEncoder) and train again"
        )


framework = CatBoost()
