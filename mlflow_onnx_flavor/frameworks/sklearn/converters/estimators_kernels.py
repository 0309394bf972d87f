"""Kernel ridge regression and Gaussian process classification, in float64 throughout."""

from __future__ import annotations

from typing import Any

import numpy as np

from mlflow_onnx_flavor.errors import NotExportableError
from mlflow_onnx_flavor.frameworks.sklearn.converters.estimators_graph import (
    CLASSIFIER,
    REGRESSOR,
    Classified,
    Rule,
    positions_of_largest,
    take,
)
from mlflow_onnx_flavor.frameworks.sklearn.converters.gaussian_kernels import covariance, variance
from mlflow_onnx_flavor.frameworks.sklearn.converters.transformers_graph import Rows
from mlflow_onnx_flavor.frameworks.sklearn.converters.transformers_kernels import kernel_matrix

# Williams and Barber, Bayesian Classification with Gaussian Processes, IEEE PAMI 20, 1998, appendix
# A: the logistic function as a sum of five error functions, with scikit-learn's fit of it.
_SCALES = np.array([0.41, 0.4, 0.37, 0.44, 0.39])
_WEIGHTS = np.array([-1854.8214151, 3516.89893646, 221.29346712, 128.12323805, -2010.49422654])

# Cody, Rational Chebyshev Approximations for the Error Function, Mathematics of Computation 23,
# 1969: onnxruntime's Erf supports float32 only, and the weights above need higher precision.
_NEAR = 0.46875
_NEAR_OVER = (1.85777706184603153e-1, 3.16112374387056560, 1.13864154151050156e2,
              3.77485237685302021e2, 3.20937758913846947e3)  # fmt: skip
_NEAR_UNDER = (1.0, 2.36012909523441209e1, 2.44024637934444173e2, 1.28261652607737228e3,
               2.84423683343917062e3)  # fmt: skip
_FAR_OVER = (2.15311535474403846e-8, 5.64188496988670089e-1, 8.88314979438837594,
             6.61191906371416295e1, 2.98635138197400131e2, 8.81952221241769090e2,
             1.71204761263407058e3, 2.05107837782607147e3, 1.23033935479799725e3)  # fmt: skip
_FAR_UNDER = (1.0, 1.57449261107098347e1, 1.17693950891312499e2, 5.37181101862009858e2,
              1.62138957456669019e3, 3.29079923573345963e3, 4.36261909014324716e3,
              3.43936767414372164e3, 1.23033935480374942e3)  # fmt: skip


def register() -> None:
    """Register this file's converters with skl2onnx."""
    from sklearn.gaussian_process import GaussianProcessClassifier
    from sklearn.kernel_ridge import KernelRidge

    take(CLASSIFIER, {GaussianProcessClassifier: Rule(_gaussian_classes)})
    take(REGRESSOR, {KernelRidge: Rule(_kernel_ridge)})


def _kernel_ridge(rows: Rows, model: Any, matrix: str) -> str:
    if callable(model.kernel) or model.kernel == "precomputed":
        raise NotExportableError(
            "KernelRidge with a kernel of its own or a precomputed one has no ONNX form; use one of"
            " linear, rbf, poly, sigmoid, cosine, laplacian, chi2"
        )
    given = model.kernel_params or {}
    if not given:
        given = {"gamma": model.gamma, "degree": model.degree, "coef0": model.coef0}
    kernel = kernel_matrix(rows, matrix, model, model.X_fit_, given)
    return rows.op("MatMul", kernel, np.asarray(model.dual_coef_).reshape(len(model.X_fit_), -1))


def _gaussian_classes(rows: Rows, model: Any, matrix: str) -> Classified:
    if model.n_classes_ == 2:
        mean, probability = _binary(rows, model.base_estimator_, matrix)
        positions = rows.reshape(rows.cast(rows.op("Greater", mean, 0.0), np.int64), -1)
        return positions, rows.joined([rows.op("Sub", 1.0, probability), probability])
    if model.multi_class != "one_vs_rest":
        raise NotExportableError(
            "GaussianProcessClassifier(multi_class='one_vs_one') has no ONNX form here; use"
            " 'one_vs_rest'"
        )
    parts = [_binary(rows, each, matrix)[1] for each in model.base_estimator_.estimators_]
    joined = rows.joined(parts)
    total = rows.reduce("ReduceSum", joined)
    total = rows.op("Where", rows.op("Equal", total, 0.0), 1.0, total)
    return positions_of_largest(rows, joined), rows.op("Div", joined, total)


def _binary(rows: Rows, model: Any, matrix: str) -> tuple[str, str]:
    """Return the latent mean and the probability of the second class, each of shape (rows, 1).

    Source: Rasmussen and Williams, Gaussian Processes for Machine Learning, 2006, algorithm 3.2.
    """
    kernel = covariance(rows, model.kernel_, matrix, model.X_train_)
    mean = rows.op("MatMul", kernel, (model.y_train_ - model.pi_).reshape(-1, 1))
    solved = np.linalg.solve(model.L_, np.diag(model.W_sr_))
    spread = rows.op("MatMul", kernel, solved.T)
    explained = rows.reduce("ReduceSum", rows.op("Mul", spread, spread))
    left = rows.op("Sub", variance(rows, model.kernel_, matrix), explained)
    alpha = rows.op("Div", 0.5, left)
    root = rows.add("Sqrt", rows.op("Div", alpha, rows.op("Add", alpha, _SCALES**2)))
    integrals = erf(rows, rows.op("Mul", rows.op("Mul", mean, _SCALES), root))
    weighted = rows.reduce("ReduceSum", rows.op("Mul", integrals, 0.5 * _WEIGHTS))
    return mean, rows.op("Add", weighted, 0.5 * _WEIGHTS.sum())


def erf(rows: Rows, value: str) -> str:
    """Return the error function, accurate to 4e-16."""
    size = rows.add("Abs", value)
    small = rows.op("Min", size, _NEAR)
    square = rows.op("Mul", small, small)
    near = rows.op("Mul", small, _ratio(rows, square, _NEAR_OVER, _NEAR_UNDER))
    far = rows.op("Min", size, 8.0)  # from there on it is 1
    decay = rows.add("Exp", rows.add("Neg", rows.op("Mul", far, far)))
    tail = rows.op("Mul", decay, _ratio(rows, far, _FAR_OVER, _FAR_UNDER))
    found = rows.op("Where", rows.op("LessOrEqual", size, _NEAR), near, rows.op("Sub", 1.0, tail))
    return rows.op("Mul", rows.add("Sign", value), found)


def _ratio(rows: Rows, value: str, over: tuple[float, ...], under: tuple[float, ...]) -> str:
    """Return a quotient of two polynomials, by Horner's rule, highest power first."""

    def polynomial(coefficients: tuple[float, ...]) -> str:
        total: Any = rows.number(coefficients[0])
        for each in coefficients[1:]:
            total = rows.op("Add", rows.op("Mul", total, value), each)
        return total

    return rows.op("Div", polynomial(over), polynomial(under))
