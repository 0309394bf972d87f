"""Transformers of each column by a formula: scalers, powers, polynomials, feature maps."""

from __future__ import annotations

from typing import Any

import numpy as np

from mlflow_onnx_flavor.frameworks.sklearn.converters.transformers_arithmetic import expm1, log1p
from mlflow_onnx_flavor.frameworks.sklearn.converters.transformers_graph import Rows, Rule
from mlflow_onnx_flavor.frameworks.sklearn.converters.transformers_graph import register as _take


def register() -> None:
    """Register this file's converters with skl2onnx."""
    from sklearn import preprocessing
    from sklearn.feature_extraction.text import TfidfTransformer
    from sklearn.kernel_approximation import AdditiveChi2Sampler

    _take(
        {
            preprocessing.StandardScaler: Rule(_standard),
            preprocessing.RobustScaler: Rule(_robust),
            preprocessing.MinMaxScaler: Rule(_min_max),
            preprocessing.MaxAbsScaler: Rule(_max_abs),
            preprocessing.Normalizer: Rule(_normalized),
            preprocessing.Binarizer: Rule(_binarized, exact=True),
            preprocessing.PowerTransformer: Rule(_power, float64=True),
            preprocessing.PolynomialFeatures: Rule(_polynomial),
            preprocessing.KernelCenterer: Rule(_kernel_centred, float64=True, width=_fitted_width),
            TfidfTransformer: Rule(_tfidf),
            AdditiveChi2Sampler: Rule(_additive_chi2),
        }
    )


def _fitted_width(model: Any) -> int:
    return model.n_features_in_


def _standard(rows: Rows, model: Any, matrix: str) -> str:
    centred = rows.op("Sub", matrix, model.mean_) if model.with_mean else matrix
    return rows.op("Div", centred, model.scale_) if model.with_std else centred


def _robust(rows: Rows, model: Any, matrix: str) -> str:
    centred = rows.op("Sub", matrix, model.center_) if model.with_centering else matrix
    return rows.op("Div", centred, model.scale_) if model.with_scaling else centred


def _min_max(rows: Rows, model: Any, matrix: str) -> str:
    scaled = rows.op("Add", rows.op("Mul", matrix, model.scale_), model.min_)
    return _clipped(rows, scaled, *model.feature_range) if model.clip else scaled


def _max_abs(rows: Rows, model: Any, matrix: str) -> str:
    scaled = rows.op("Div", matrix, model.scale_)
    return _clipped(rows, scaled, -1.0, 1.0) if getattr(model, "clip", False) else scaled


def _clipped(rows: Rows, value: str, least: float, most: float) -> str:
    # The ONNX standard does not say that Clip keeps a missing value missing.
    clipped = rows.op("Clip", value, least, most)
    return rows.op("Where", rows.add("IsNaN", value), np.nan, clipped)


def _normalized(rows: Rows, model: Any, matrix: str) -> str:
    return norm_divided(rows, matrix, model.norm)


def norm_divided(rows: Rows, matrix: str, norm: str) -> str:
    """Return each row divided by its norm; a row whose norm is almost 0 stays unchanged."""
    if norm == "l2":
        norms = rows.add("Sqrt", rows.reduce("ReduceSum", rows.op("Mul", matrix, matrix)))
    else:
        reduced = "ReduceSum" if norm == "l1" else "ReduceMax"
        norms = rows.reduce(reduced, rows.add("Abs", matrix))
    # The limit is that of scikit-learn's _handle_zeros_in_scale.
    least = 10 * np.finfo(rows.dtype).eps
    return rows.op("Div", matrix, rows.op("Where", rows.op("Less", norms, least), 1.0, norms))


def _binarized(rows: Rows, model: Any, matrix: str) -> str:
    above = rows.op("Greater", matrix, model.threshold)
    # Rows of float32 are compared with the threshold as float32, which may lie above the threshold.
    level = rows.op("Equal", matrix, float(np.float32(model.threshold)))
    above = rows.truth(rows.add("And", above, rows.add("Not", level)))
    return rows.op("Where", rows.add("IsNaN", matrix), np.nan, above)


def _power(rows: Rows, model: Any, matrix: str) -> str:
    lambdas = np.asarray(model.lambdas_, np.float64)
    if model.method == "box-cox":
        result = _box_cox(rows, rows.add("Log", matrix), lambdas)
    else:
        # Each sign has its own formula, which receives only numbers for which it is defined.
        positive = rows.op("GreaterOrEqual", matrix, 0.0)
        above = _box_cox(rows, log1p(rows, rows.op("Max", matrix, 0.0)), lambdas)
        below = log1p(rows, rows.op("Max", rows.add("Neg", matrix), 0.0))
        below = rows.add("Neg", _box_cox(rows, below, 2.0 - lambdas))
        result = rows.op("Where", positive, above, below)
    result = rows.op("Where", rows.add("IsNaN", matrix), matrix, result)
    return _standard(rows, model._scaler, result) if model.standardize else result


def _box_cox(rows: Rows, logarithm: str, lambdas: np.ndarray) -> str:
    """Return (exp(lambda * log) - 1) / lambda, which becomes the logarithm if lambda is 0."""
    zero = np.abs(lambdas) < np.spacing(1.0)
    divisor = np.where(zero, 1.0, lambdas)
    powers = rows.op("Div", expm1(rows, rows.op("Mul", logarithm, divisor)), divisor)
    return rows.op("Where", rows.constant(zero), logarithm, powers)


def _polynomial(rows: Rows, model: Any, matrix: str) -> str:
    """Return the polynomial features: each is a product of columns, which may repeat."""
    wide = rows.joined([matrix, _ones(rows, matrix)])
    powers = model.powers_
    one = powers.shape[1]
    most = max(1, int(powers.sum(axis=1).max()))
    factors = np.full((len(powers), most), one)
    for number, row in enumerate(powers):
        named = np.repeat(np.arange(len(row)), row)
        factors[number, : len(named)] = named
    product = rows.columns(wide, factors[:, 0])
    for place in range(1, most):
        product = rows.op("Mul", product, rows.columns(wide, factors[:, place]))
    return product


def _ones(rows: Rows, matrix: str) -> str:
    """Return a column of ones, one for each row."""
    first = rows.columns(matrix, [0])
    return rows.truth(rows.add("Or", rows.op("Equal", first, first), rows.add("IsNaN", first)))


def _kernel_centred(rows: Rows, model: Any, matrix: str) -> str:
    return centred_kernel(rows, matrix, model)


def centred_kernel(rows: Rows, kernel: str, centerer: Any) -> str:
    """Return ``kernel``, shape (rows, fitted rows), centred by the fitted KernelCenterer."""
    fitted = np.asarray(centerer.K_fit_rows_)
    means = rows.op("Div", rows.reduce("ReduceSum", kernel), float(len(fitted)))
    centred = rows.op("Sub", rows.op("Sub", kernel, fitted), means)
    return rows.op("Add", centred, float(centerer.K_fit_all_))


def _tfidf(rows: Rows, model: Any, matrix: str) -> str:
    return weighted_terms(rows, matrix, model)


def weighted_terms(rows: Rows, counts: str, model: Any) -> str:
    """Return counts of terms, weighted by the TfidfTransformer ``model``."""
    value = counts
    if model.sublinear_tf:
        found = rows.op("Greater", value, 0.0)
        logarithm = rows.op("Add", rows.add("Log", rows.op("Where", found, value, 1.0)), 1.0)
        value = rows.op("Where", found, logarithm, 0.0)
    if model.use_idf:
        value = rows.op("Mul", value, model.idf_)
    return value if model.norm is None else norm_divided(rows, value, model.norm)


def _additive_chi2(rows: Rows, model: Any, matrix: str) -> str:
    interval = model.sample_interval
    if interval is None:
        interval = {1: 0.8, 2: 0.5, 3: 0.4}[model.sample_steps]
    # scikit-learn raises for numbers below zero; here the logarithm makes them NaN.
    some = rows.add("Not", rows.op("Equal", matrix, 0.0))
    value = rows.op("Where", some, matrix, 1.0)
    logarithm = rows.op("Mul", rows.add("Log", value), interval)
    blocks = [rows.add("Sqrt", rows.op("Mul", value, interval))]
    for step in range(1, model.sample_steps):
        factor = 2 * interval / np.cosh(np.pi * step * interval)
        factor = rows.add("Sqrt", rows.op("Mul", value, factor))
        angle = rows.op("Mul", logarithm, float(step))
        blocks += [rows.op("Mul", factor, rows.add(each, angle)) for each in ("Cos", "Sin")]
    return rows.joined([rows.op("Where", some, each, 0.0) for each in blocks])
