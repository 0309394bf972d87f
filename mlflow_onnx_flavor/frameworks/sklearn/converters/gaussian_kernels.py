"""The kernels of scikit-learn's Gaussian processes, between rows and training rows."""

from __future__ import annotations

from typing import Any

import numpy as np

from mlflow_onnx_flavor.errors import NotExportableError
from mlflow_onnx_flavor.frameworks.sklearn.converters.transformers_distances import distances
from mlflow_onnx_flavor.frameworks.sklearn.converters.transformers_graph import Rows


def covariance(rows: Rows, kernel: Any, matrix: str, points: Any) -> str:
    """Return ``kernel(rows, points)``, shape (rows, points)."""
    points = np.asarray(points, np.float64)
    name = type(kernel).__name__
    if name in ("Sum", "Product"):
        both = (covariance(rows, each, matrix, points) for each in (kernel.k1, kernel.k2))
        return rows.op("Add" if name == "Sum" else "Mul", *both)
    if name == "Exponentiation":
        return rows.op("Pow", covariance(rows, kernel.kernel, matrix, points), kernel.exponent)
    if name == "ConstantKernel":
        return rows.number(np.full((1, len(points)), kernel.constant_value))
    if name == "WhiteKernel":  # the noise of a row is independent of every other row
        return rows.number(np.zeros((1, len(points))))
    if name == "DotProduct":
        return rows.op("Add", rows.op("MatMul", matrix, points.T), kernel.sigma_0**2)
    written = {
        "RBF": _rbf,
        "Matern": _matern,
        "RationalQuadratic": _rational,
        "ExpSineSquared": _periodic,
    }
    if name not in written:
        raise NotExportableError(
            f"the Gaussian process kernel {name} has no ONNX form here; use RBF, Matern,"
            " RationalQuadratic, ExpSineSquared, DotProduct, ConstantKernel or WhiteKernel"
        )
    return written[name](rows, kernel, matrix, points)


def variance(rows: Rows, kernel: Any, matrix: str) -> str:
    """Return ``kernel.diag(rows)``, of a shape that broadcasts with (rows, 1)."""
    name = type(kernel).__name__
    if name in ("Sum", "Product"):
        both = (variance(rows, each, matrix) for each in (kernel.k1, kernel.k2))
        return rows.op("Add" if name == "Sum" else "Mul", *both)
    if name == "Exponentiation":
        return rows.op("Pow", variance(rows, kernel.kernel, matrix), kernel.exponent)
    if name == "ConstantKernel":
        return rows.number([[kernel.constant_value]])
    if name == "WhiteKernel":
        return rows.number([[kernel.noise_level]])
    if name == "DotProduct":
        squared = rows.reduce("ReduceSum", rows.op("Mul", matrix, matrix))
        return rows.op("Add", squared, kernel.sigma_0**2)
    return rows.number([[1.0]])  # kernels that depend on the distance alone


def _scaled(rows: Rows, kernel: Any, matrix: str, points: np.ndarray, metric: str) -> str:
    scale = np.asarray(kernel.length_scale, np.float64)
    return distances(rows, rows.op("Div", matrix, scale), points / scale, metric)


def _rbf(rows: Rows, kernel: Any, matrix: str, points: np.ndarray) -> str:
    far = _scaled(rows, kernel, matrix, points, "sqeuclidean")
    return rows.add("Exp", rows.op("Mul", far, -0.5))


def _matern(rows: Rows, kernel: Any, matrix: str, points: np.ndarray) -> str:
    if kernel.nu == np.inf:
        return _rbf(rows, kernel, matrix, points)
    if kernel.nu not in (0.5, 1.5, 2.5):
        raise NotExportableError(
            f"Matern(nu={kernel.nu}) needs a Bessel function, which ONNX lacks; use nu of 0.5, 1.5,"
            " 2.5 or infinity"
        )
    far = _scaled(rows, kernel, matrix, points, "euclidean")
    far = rows.op("Mul", far, float(np.sqrt(2 * kernel.nu)))
    decay = rows.add("Exp", rows.add("Neg", far))
    if kernel.nu == 0.5:
        return decay
    factor = rows.op("Add", far, 1.0)
    if kernel.nu == 2.5:
        factor = rows.op("Add", factor, rows.op("Div", rows.op("Mul", far, far), 3.0))
    return rows.op("Mul", factor, decay)


def _rational(rows: Rows, kernel: Any, matrix: str, points: np.ndarray) -> str:
    far = distances(rows, matrix, points, "sqeuclidean")
    scaled = rows.op("Div", far, 2 * kernel.alpha * kernel.length_scale**2)
    return rows.op("Pow", rows.op("Add", scaled, 1.0), -kernel.alpha)


def _periodic(rows: Rows, kernel: Any, matrix: str, points: np.ndarray) -> str:
    far = distances(rows, matrix, points, "euclidean")
    wave = rows.add("Sin", rows.op("Mul", far, np.pi / kernel.periodicity))
    wave = rows.op("Div", wave, kernel.length_scale)
    return rows.add("Exp", rows.op("Mul", rows.op("Mul", wave, wave), -2.0))
