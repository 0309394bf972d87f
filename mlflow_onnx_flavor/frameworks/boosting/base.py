"""The interface of a framework of boosted trees, which is also used for steps of pipelines."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np

from mlflow_onnx_flavor.frameworks.base import Framework, LoadedSource
from mlflow_onnx_flavor.frameworks.boosting.answers import LABEL, PREDICTION, PROBABILITIES, Value
from mlflow_onnx_flavor.frameworks.tabular import class_labels
from mlflow_onnx_flavor.inputs import Inputs
from mlflow_onnx_flavor.onnx_graph.builder import GraphParts


class BoostingFramework(Framework):
    """A framework whose estimators are also steps of scikit-learn pipelines.

    ``estimators``: the names of its classes; True marks a classifier.  ``rounds_rows``: the
    framework rounds rows to float32 before it compares.  ``has_scores``: it has `add_scores`.
    """

    estimators: ClassVar[Mapping[str, bool]]
    rounds_rows: ClassVar[bool] = False
    has_scores: ClassVar[bool] = False

    def classes(self, source: LoadedSource) -> tuple[str, ...]:
        """Return the classes of a wrapped classifier of one label."""
        return class_labels(source.native)

    def reference_outputs(self, source: LoadedSource, inputs: Inputs) -> dict[str, np.ndarray]:
        """Return the source model's outputs: labels and probabilities, or the prediction."""
        answer = np.asarray(source.pyfunc.predict(inputs.data))
        if not is_classifier(source.native):
            return {PREDICTION: answer}
        return {LABEL: answer, PROBABILITIES: np.asarray(source.native.predict_proba(inputs.data))}

    @abstractmethod
    def add_answers(
        self, parts: GraphParts, rows: str, model: Any, classes: Any = None
    ) -> dict[str, Value]:
        """Add the predictions of ``model`` on ``rows`` (float64) and return them by name.

        ``classes``: labels to answer with in place of the model's own.
        """

    def add_scores(self, parts: GraphParts, rows: str, model: Any) -> str:
        """Add the raw scores of each class, float64 of shape (rows, classes)."""
        raise NotImplementedError(f"{type(model).__name__} has no decision_function")


def is_classifier(model: Any) -> bool:
    """Return whether ``model`` is a wrapped classifier, which has probabilities."""
    return hasattr(model, "predict_proba")
