"""XGBoost: boosters and scikit-learn wrappers as `mlflow.xgboost` stores them, through onnxmltools.

Outputs: "label" and "probabilities" of a wrapped classifier; "prediction" of a wrapped regressor
and of a booster, whose predict gives probabilities itself.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from mlflow_onnx_flavor.frameworks.base import Export, LoadedSource, Strategy
from mlflow_onnx_flavor.frameworks.columns import matrix_feed, skl2onnx_types, width
from mlflow_onnx_flavor.frameworks.exported_graph import (
    STANDARD_OPSET,
    answer_as,
    append_column,
    plain_attributes,
    save,
)
from mlflow_onnx_flavor.inputs import Inputs

flavor = "xgboost"
extra = "xgboost"
modules = ("xgboost", "sklearn", "skl2onnx", "onnxmltools")
distributions = ("xgboost", "onnxmltools", "skl2onnx", "onnx", "numpy")

LABEL, PROBABILITIES, PREDICTION = "label", "probabilities", "prediction"


def load(path: Path, flavor: Mapping[str, Any]) -> LoadedSource:
    """Load what `mlflow.xgboost` stored."""
    import mlflow.pyfunc
    import mlflow.xgboost

    return LoadedSource(
        mlflow.xgboost.load_model(str(path)), mlflow.pyfunc.load_model(str(path)), path, flavor
    )


def reference_outputs(source: LoadedSource, inputs: Inputs) -> dict[str, np.ndarray]:
    """The model's own answers; see the module's docstring for the names."""
    answer = np.asarray(source.pyfunc.predict(inputs.data))
    if not _is_classifier(source.native):
        return {PREDICTION: answer}
    probabilities = np.asarray(source.native.predict_proba(inputs.data))
    return {LABEL: answer, PROBABILITIES: probabilities}


def strategies(source: LoadedSource, example: Inputs) -> list[Strategy]:
    """One: XGBoost computes in float32 itself, so float32 loses nothing."""

    def export(path: Path) -> Export:
        return _export(source, example, path)

    return [Strategy("trees_float32", "XGBoost itself compares in float32", export, "onnxmltools")]


def _export(source: LoadedSource, example: Inputs, path: Path) -> Export:
    from onnxmltools.convert import convert_xgboost

    feeds = matrix_feed(example, "float32")
    with plain_attributes():
        model = convert_xgboost(
            _without_names(source.native),
            initial_types=_onnxmltools_types(feeds, width(example)),
            target_opset=STANDARD_OPSET,
        )
    found = [each.name for each in model.graph.output]
    if _is_classifier(source.native):
        names = dict(zip(found, (LABEL, PROBABILITIES), strict=False))
        answer = LABEL
    elif (
        len(found) == 2
    ):  # a booster of a classification objective: its predict gives probabilities
        names, answer = _booster_probabilities(model, found[1], source, example), PREDICTION
    else:
        ndim = np.asarray(source.pyfunc.predict(example.data)).ndim
        names, answer = answer_as(model, found[0], PREDICTION, ndim), PREDICTION
    outputs = save(model, path, names)
    return Export(feeds=feeds, outputs=outputs, prediction=(answer,))


def _booster_probabilities(
    model: Any, probabilities: str, source: LoadedSource, example: Inputs
) -> dict[str, str]:
    """All columns for several classes; of two classes a booster gives the second's alone."""
    if np.asarray(source.pyfunc.predict(example.data)).ndim == 2:
        return {probabilities: PREDICTION}
    append_column(model, probabilities, 1, PREDICTION)
    return {PREDICTION: PREDICTION}


def _without_names(model: Any) -> Any:
    """A copy whose features are f0, f1, ..., the only names that the converter takes."""
    unnamed = copy.deepcopy(model)
    booster = unnamed if not hasattr(unnamed, "get_booster") else unnamed.get_booster()
    booster.feature_names = None
    return unnamed


def _onnxmltools_types(feeds: Any, columns: int) -> list[tuple[str, Any]]:
    from onnxmltools.convert.common.data_types import FloatTensorType

    return [(name, FloatTensorType([None, columns])) for name, _ in skl2onnx_types(feeds, columns)]


def _is_classifier(model: Any) -> bool:
    return hasattr(model, "predict_proba")
