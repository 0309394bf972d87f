"""LightGBM: boosters and scikit-learn wrappers as `mlflow.lightgbm` stores them, by onnxmltools.

Outputs: "label" and "probabilities" of a wrapped classifier; "prediction" of a wrapped regressor
and of a booster, whose predict gives probabilities itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from mlflow_onnx_flavor.frameworks.base import Export, LoadedSource, Strategy
from mlflow_onnx_flavor.frameworks.columns import matrix_feed, width
from mlflow_onnx_flavor.frameworks.exported_graph import (
    STANDARD_OPSET,
    answer_as,
    append_column,
    plain_attributes,
    save,
)
from mlflow_onnx_flavor.inputs import Inputs

flavor = "lightgbm"
extra = "lightgbm"
modules = ("lightgbm", "sklearn", "skl2onnx", "onnxmltools")
distributions = ("lightgbm", "onnxmltools", "skl2onnx", "onnx", "numpy")

LABEL, PROBABILITIES, PREDICTION = "label", "probabilities", "prediction"


def load(path: Path, flavor: Mapping[str, Any]) -> LoadedSource:
    """Load what `mlflow.lightgbm` stored."""
    import mlflow.lightgbm
    import mlflow.pyfunc

    return LoadedSource(
        mlflow.lightgbm.load_model(str(path)), mlflow.pyfunc.load_model(str(path)), path, flavor
    )


def reference_outputs(source: LoadedSource, inputs: Inputs) -> dict[str, np.ndarray]:
    """The model's own answers; see the module's docstring for the names."""
    answer = np.asarray(source.pyfunc.predict(inputs.data))
    if not _is_classifier(source.native):
        return {PREDICTION: answer}
    return {LABEL: answer, PROBABILITIES: np.asarray(source.native.predict_proba(inputs.data))}


def strategies(source: LoadedSource, example: Inputs) -> list[Strategy]:
    """One for now: ONNX's tree operator compares in float32."""

    def export(path: Path) -> Export:
        return _export(source, example, path)

    return [Strategy("trees_float32", "ONNX compares in float32", export, "onnxmltools")]


def _export(source: LoadedSource, example: Inputs, path: Path) -> Export:
    from onnxmltools.convert import convert_lightgbm
    from onnxmltools.convert.common.data_types import FloatTensorType

    feeds = matrix_feed(example, "float32")
    with plain_attributes():
        model = convert_lightgbm(
            source.native,
            initial_types=[(feeds[0].name, FloatTensorType([None, width(example)]))],
            target_opset=STANDARD_OPSET,
            zipmap=False,
        )
    found = [each.name for each in model.graph.output]
    if _is_classifier(source.native):
        names, answer = dict(zip(found, (LABEL, PROBABILITIES), strict=False)), LABEL
    elif (
        len(found) == 2
    ):  # a booster of a classification objective: its predict gives probabilities
        answer = PREDICTION
        names = {found[1]: PREDICTION}
        if np.asarray(source.pyfunc.predict(example.data)).ndim == 1:
            append_column(model, found[1], 1, PREDICTION)
            names = {PREDICTION: PREDICTION}
    else:
        ndim = np.asarray(source.pyfunc.predict(example.data)).ndim
        names, answer = answer_as(model, found[0], PREDICTION, ndim), PREDICTION
    outputs = save(model, path, names)
    return Export(feeds=feeds, outputs=outputs, prediction=(answer,))


def _is_classifier(model: Any) -> bool:
    return hasattr(model, "predict_proba")
