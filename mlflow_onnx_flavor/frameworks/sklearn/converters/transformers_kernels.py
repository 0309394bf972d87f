"""Transformers that compare each row with training rows by a kernel."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from mlflow_onnx_flavor.errors import NotExportableError
from mlflow_onnx_flavor.frameworks.sklearn.converters.transformers_distances import distances
from mlflow_onnx_flavor.frameworks.sklearn.converters.transformers_graph import Rows, Rule
from mlflow_onnx_flavor.frameworks.sklearn.converters.transformers_graph import register as _take
from mlflow_onnx_flavor.frameworks.sklearn.converters.transformers_scaling import centred_kernel


def register() -> None:
    """Register this file's converters with skl2onnx."""
    from sklearn.decomposition import KernelPCA
    from sklearn.kernel_approximation import Nystroem

    _take({KernelPCA: Rule(_kernel_pca, float64=True), Nystroem: Rule(_nystroem, float64=True)})


def _kernel_pca(rows: Rows, model: Any, matrix: str) -> str:
    if callable(model.kernel):
        raise _unknown_kernel(model, model.kernel)
    kernel = matrix
    if model.kernel != "precomputed":
        parameters = {"gamma": model.gamma_, "degree": model.degree, "coef0": model.coef0}
        kernel = kernel_matrix(rows, matrix, model, model.X_fit_, parameters)
    return projected(rows, kernel, model)


def projected(rows: Rows, kernel: str, model: Any) -> str:
    """Project ``kernel``, shape (rows, fitted rows), on the components of the fitted KernelPCA."""
    present = np.flatnonzero(model.eigenvalues_)
    scaled = np.zeros_like(model.eigenvectors_)
    scaled[:, present] = model.eigenvectors_[:, present] / np.sqrt(model.eigenvalues_[present])
    return rows.op("MatMul", centred_kernel(rows, kernel, model._centerer), scaled)


def _nystroem(rows: Rows, model: Any, matrix: str) -> str:
    if callable(model.kernel) or model.kernel == "precomputed":
        raise _unknown_kernel(model, model.kernel)
    given = model._get_kernel_params()
    kernel = kernel_matrix(rows, matrix, model, model.components_, given)
    return rows.op("MatMul", kernel, model.normalization_.T)


def kernel_matrix(
    rows: Rows, matrix: str, model: Any, points: Any, given: Mapping[str, Any]
) -> str:
    """Return scikit-learn's kernel between the rows and ``points``, shape (rows, points)."""
    points = np.asarray(points.toarray() if hasattr(points, "toarray") else points, np.float64)
    name = model.kernel
    default = 1.0 if name == "chi2" else None
    gamma = given.get("gamma", default)
    gamma = 1.0 / points.shape[1] if gamma is None else gamma
    if name in ("rbf", "laplacian"):
        metric = "sqeuclidean" if name == "rbf" else "manhattan"
        far = distances(rows, matrix, points, metric)
        return rows.add("Exp", rows.op("Mul", far, -gamma))
    if name in ("chi2", "additive_chi2"):
        far = _chi2(rows, matrix, points)
        return (
            rows.add("Exp", rows.op("Mul", far, -gamma)) if name == "chi2" else rows.add("Neg", far)
        )
    if name == "cosine":
        norms = np.linalg.norm(points, axis=1, keepdims=True)
        own = rows.add("Sqrt", rows.reduce("ReduceSum", rows.op("Mul", matrix, matrix)))
        own = rows.op("Where", rows.op("Equal", own, 0.0), 1.0, own)
        return rows.op(
            "MatMul", rows.op("Div", matrix, own), (points / np.where(norms, norms, 1)).T
        )
    product = rows.op("MatMul", matrix, points.T)
    if name == "linear":
        return product
    coef0 = given.get("coef0", 1.0)
    shifted = rows.op("Add", rows.op("Mul", product, gamma), 1.0 if coef0 is None else coef0)
    if name in ("poly", "polynomial"):
        degree = given.get("degree", 3)
        return rows.op("Pow", shifted, float(3 if degree is None else degree))
    if name == "sigmoid":
        return rows.add("Tanh", shifted)
    raise _unknown_kernel(model, name)


def _chi2(rows: Rows, matrix: str, points: np.ndarray) -> str:
    """Return the sum of (x - y)² / (x + y) over the columns in which x + y is not 0."""
    total = ""
    for column, values in enumerate(points.T):
        own = rows.columns(matrix, [column])
        gap, both = (rows.op(each, own, values[None, :]) for each in ("Sub", "Add"))
        nothing = rows.op("Equal", both, 0.0)
        part = rows.op("Div", rows.op("Mul", gap, gap), rows.op("Where", nothing, 1.0, both))
        part = rows.op("Where", nothing, 0.0, part)
        total = rows.op("Add", total, part) if total else part
    return total


def _unknown_kernel(model: Any, kernel: Any) -> NotExportableError:
    name = getattr(kernel, "__qualname__", kernel)
    return NotExportableError(
        f"{type(model).__name__} with kernel {name} has no ONNX form here; use one of rbf, linear,"
        " poly, sigmoid, cosine, laplacian, chi2"
    )
