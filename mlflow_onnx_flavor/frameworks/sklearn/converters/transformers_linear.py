"""Transformers that are one matrix product: decompositions, projections, random features."""

from __future__ import annotations

from typing import Any

import numpy as np

from mlflow_onnx_flavor.frameworks.sklearn.converters.transformers_graph import Rows, Rule
from mlflow_onnx_flavor.frameworks.sklearn.converters.transformers_graph import register as _take


def register() -> None:
    """Register this file's converters with skl2onnx."""
    from sklearn import cross_decomposition, decomposition, kernel_approximation, random_projection
    from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
    from sklearn.neighbors import NeighborhoodComponentsAnalysis
    from sklearn.neural_network import BernoulliRBM

    pls = Rule(_pls, width=lambda model: model.x_rotations_.shape[1])
    sparse_pca = Rule(_sparse_pca)
    components = Rule(_components)
    _take(
        {
            decomposition.PCA: Rule(_pca),
            decomposition.IncrementalPCA: Rule(_pca),
            decomposition.TruncatedSVD: components,
            decomposition.FactorAnalysis: Rule(_factor_analysis),
            decomposition.FastICA: Rule(_fast_ica),
            decomposition.SparsePCA: sparse_pca,
            decomposition.MiniBatchSparsePCA: sparse_pca,
            cross_decomposition.CCA: pls,
            cross_decomposition.PLSCanonical: pls,
            cross_decomposition.PLSRegression: pls,
            cross_decomposition.PLSSVD: Rule(_pls_svd, width=lambda m: m.x_weights_.shape[1]),
            random_projection.GaussianRandomProjection: components,
            random_projection.SparseRandomProjection: components,
            NeighborhoodComponentsAnalysis: components,
            LinearDiscriminantAnalysis: Rule(_discriminant),
            BernoulliRBM: Rule(_boltzmann),
            kernel_approximation.RBFSampler: Rule(_rbf_sampler, float64=True),
            kernel_approximation.SkewedChi2Sampler: Rule(_skewed_chi2, float64=True),
            kernel_approximation.PolynomialCountSketch: Rule(_count_sketch, float64=True),
        }
    )


def _centred(rows: Rows, matrix: str, mean: Any) -> str:
    return matrix if mean is None else rows.op("Sub", matrix, np.reshape(mean, (1, -1)))


def _pca(rows: Rows, model: Any, matrix: str) -> str:
    loadings = model.components_.T.astype(np.float64)
    if model.whiten:
        # scikit-learn keeps the divisor of a component with almost no variance away from 0.
        least = np.finfo(model.components_.dtype).eps
        loadings = loadings / np.maximum(np.sqrt(model.explained_variance_), least)
    return rows.op("MatMul", _centred(rows, matrix, model.mean_), loadings)


def _components(rows: Rows, model: Any, matrix: str) -> str:
    components = model.components_
    dense = components.toarray() if hasattr(components, "toarray") else components
    return rows.op("MatMul", matrix, np.asarray(dense).T)


def _factor_analysis(rows: Rows, model: Any, matrix: str) -> str:
    weighted = model.components_ / model.noise_variance_
    covariance = np.linalg.inv(np.eye(len(model.components_)) + weighted @ model.components_.T)
    return rows.op("MatMul", _centred(rows, matrix, model.mean_), weighted.T @ covariance)


def _fast_ica(rows: Rows, model: Any, matrix: str) -> str:
    mean = model.mean_ if model.whiten else None
    return rows.op("MatMul", _centred(rows, matrix, mean), model.components_.T)


def _sparse_pca(rows: Rows, model: Any, matrix: str) -> str:
    """Return the ridge regression of each row on the components, which has a closed form."""
    components = model.components_.astype(np.float64)
    gram = components @ components.T + model.ridge_alpha * np.eye(len(components))
    projection = np.linalg.solve(gram, components).T
    return rows.op("MatMul", _centred(rows, matrix, model.mean_), projection)


def _pls(rows: Rows, model: Any, matrix: str) -> str:
    scaled = rows.op("Div", _centred(rows, matrix, model._x_mean), model._x_std)
    return rows.op("MatMul", scaled, model.x_rotations_)


def _pls_svd(rows: Rows, model: Any, matrix: str) -> str:
    scaled = rows.op("Div", _centred(rows, matrix, model._x_mean), model._x_std)
    return rows.op("MatMul", scaled, model.x_weights_)


def _discriminant(rows: Rows, model: Any, matrix: str) -> str:
    mean = model.xbar_ if model.solver == "svd" else None
    scalings = model.scalings_[:, : model._max_components]
    return rows.op("MatMul", _centred(rows, matrix, mean), scalings)


def _boltzmann(rows: Rows, model: Any, matrix: str) -> str:
    score = rows.op("MatMul", matrix, model.components_.T)
    return rows.add("Sigmoid", rows.op("Add", score, model.intercept_hidden_))


def _rbf_sampler(rows: Rows, model: Any, matrix: str) -> str:
    angle = rows.op("MatMul", matrix, model.random_weights_)
    angle = rows.op("Add", angle, model.random_offset_)
    return rows.op("Mul", rows.add("Cos", angle), np.sqrt(2.0 / len(model.random_offset_)))


def _skewed_chi2(rows: Rows, model: Any, matrix: str) -> str:
    logarithm = rows.add("Log", rows.op("Add", matrix, model.skewedness))
    angle = rows.op("MatMul", logarithm, model.random_weights_)
    angle = rows.op("Add", angle, model.random_offset_)
    return rows.op("Mul", rows.add("Cos", angle), np.sqrt(2.0 / len(model.random_offset_)))


def _count_sketch(rows: Rows, model: Any, matrix: str) -> str:
    """Return the product of Fourier transforms; each is a product with two constant matrices.

    Sketching and transforming are both linear, so one matrix does both.
    """
    hashes, signs = model.indexHash_, model.bitHash_
    width = model.n_components
    if model.coef0 != 0:
        constant = rows.op("Mul", rows.columns(matrix, [0]), 0.0)
        constant = rows.op("Add", constant, np.sqrt(model.coef0))
        matrix = rows.joined([rows.op("Mul", matrix, np.sqrt(model.gamma)), constant])
    else:
        matrix = rows.op("Mul", matrix, np.sqrt(model.gamma))
    frequencies = np.arange(width)
    real = imaginary = ""
    for hashed, sign in zip(hashes, signs, strict=True):
        angle = -2.0 * np.pi * (np.outer(hashed, frequencies) % width) / width
        a = rows.op("MatMul", matrix, sign[:, None] * np.cos(angle))
        b = rows.op("MatMul", matrix, sign[:, None] * np.sin(angle))
        if not real:
            real, imaginary = a, b
            continue
        real, imaginary = (
            rows.op("Sub", rows.op("Mul", real, a), rows.op("Mul", imaginary, b)),
            rows.op("Add", rows.op("Mul", real, b), rows.op("Mul", imaginary, a)),
        )
    angle = 2.0 * np.pi * (np.outer(frequencies, frequencies) % width) / width
    return rows.op(
        "Sub",
        rows.op("MatMul", real, np.cos(angle) / width),
        rows.op("MatMul", imaginary, np.sin(angle) / width),
    )
