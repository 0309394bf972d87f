"""Multi-label classifiers for which skl2onnx would write a single label: refused."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from mlflow_onnx_flavor.errors import NotExportableError


def register() -> None:
    """Put a check of the labels before skl2onnx's parsers of these classes."""
    from skl2onnx import _parse
    from sklearn.linear_model import RidgeClassifier, RidgeClassifierCV
    from sklearn.neural_network import MLPClassifier

    for estimator in (MLPClassifier, RidgeClassifier, RidgeClassifierCV):
        # A class without a parser of its own is parsed as any model is.
        parser = _parse.sklearn_parsers_map.get(estimator, _parse._parse_sklearn_simple_model)
        if parser.__module__ != __name__:  # otherwise the check is already there
            _parse.update_registered_parser(estimator, _of_one_label(parser))


def _of_one_label(parser: Callable[..., Any]) -> Callable[..., Any]:
    def parse(scope: Any, model: Any, inputs: Any, custom_parsers: Any = None) -> Any:
        if model._label_binarizer.y_type_.startswith("multilabel"):
            name = type(model).__name__
            raise NotExportableError(
                f"{name} of several labels has no ONNX form here; fit one for each label with"
                f" MultiOutputClassifier({name}(...))"
            )
        return parser(scope, model, inputs, custom_parsers)

    return parse
