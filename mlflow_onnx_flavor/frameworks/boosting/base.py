"""What a framework of boosted trees provides: by itself, and as a step of a pipeline."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar

from mlflow_onnx_flavor.frameworks.base import Framework, LoadedSource
from mlflow_onnx_flavor.frameworks.boosting.answers import Value
from mlflow_onnx_flavor.frameworks.tabular import class_labels
from mlflow_onnx_flavor.onnx_graph.builder import GraphParts


class BoostingFramework(Framework):
    """A framework whose estimators are also steps of scikit-learn pipelines.

    ``estimators``: its classes, with whether they classify.  ``rounds_rows``: whether it rounds
    rows to float32 before it compares.  ``has_scores``: whether `add_scores` is there.
    """

    estimators: ClassVar[Mapping[str, bool]]
    rounds_rows: ClassVar[bool] = False
    has_scores: ClassVar[bool] = False

    def classes(self, source: LoadedSource) -> tuple[str, ...]:
        """Return the classes of a wrapped classifier of one label."""
        return class_labels(source.native)

    @abstractmethod
    def add_answers(
        self, parts: GraphParts, rows: str, model: Any, classes: Any = None
    ) -> dict[str, Value]:
        """Add what ``model`` answers on ``rows`` (float64); returns its answers by name.

        ``classes``: labels to answer with in place of the model's own.
        """

    def add_scores(self, parts: GraphParts, rows: str, model: Any) -> str:
        """Add the raw scores of each class, float64 of shape (rows, classes)."""
        raise NotImplementedError(f"{type(model).__name__} has no decision_function")
