"""Models of normal distributions: Gaussian mixtures and the elliptic envelope (outliers)."""

from __future__ import annotations

from typing import Any

import numpy as np

from mlflow_onnx_flavor.frameworks.sklearn.converters.estimators_graph import (
    CLUSTERER,
    Rule,
    positions_of_largest,
    take,
)
from mlflow_onnx_flavor.frameworks.sklearn.converters.transformers_graph import Rows


def register() -> None:
    """Register this file's converters with skl2onnx."""
    from skl2onnx import _parse
    from sklearn import covariance, mixture

    take(
        CLUSTERER,
        {
            covariance.EllipticEnvelope: Rule(_within_envelope),
            mixture.BayesianGaussianMixture: Rule(_likeliest),
            mixture.GaussianMixture: Rule(_likeliest),
        },
    )
    # skl2onnx's own parser of mixtures declares their densities as well.
    for each in (mixture.BayesianGaussianMixture, mixture.GaussianMixture):
        _parse.update_registered_parser(each, _parse_label)


def _parse_label(scope: Any, model: Any, inputs: Any, custom_parsers: Any = None) -> list[Any]:
    from skl2onnx.common.data_types import Int64TensorType

    operator = scope.declare_local_operator(f"MlflowOnnxFlavor{CLUSTERER}", model)
    operator.inputs = list(inputs)
    operator.outputs.append(scope.declare_local_variable("label", Int64TensorType()))
    return operator.outputs


def _within_envelope(rows: Rows, model: Any, matrix: str) -> str:
    """Return 1 for rows within the envelope and -1 for rows outside."""
    values, directions = np.linalg.eigh(model.get_precision())
    roots = directions * np.sqrt(np.maximum(values, 0.0))
    far = rows.op("MatMul", rows.op("Sub", matrix, model.location_), roots)
    far = rows.reduce("ReduceSum", rows.op("Mul", far, far), keepdims=False)
    inside = rows.op("LessOrEqual", far, -float(model.offset_))
    return rows.add("Where", inside, rows.whole(1), rows.whole(-1))


def _likeliest(rows: Rows, model: Any, matrix: str) -> str:
    """Return the position of the likeliest component."""
    means, factors = np.asarray(model.means_), np.asarray(model.precisions_cholesky_)
    squares = []
    for number, mean in enumerate(means):
        factor = factors if model.covariance_type == "tied" else factors[number]
        if model.covariance_type in ("diag", "spherical"):
            far = rows.op("Mul", rows.op("Sub", matrix, mean), factor)
        else:
            far = rows.op("Sub", rows.op("MatMul", matrix, factor), mean @ factor)
        squares.append(rows.reduce("ReduceSum", rows.op("Mul", far, far)))
    # The term that does not depend on the row is scikit-learn's value at the means, where the
    # square is 0.
    constants = np.diag(model._estimate_log_prob(means)) + model._estimate_log_weights()
    scores = rows.op("Add", rows.op("Mul", rows.joined(squares), -0.5), constants)
    return positions_of_largest(rows, scores)
