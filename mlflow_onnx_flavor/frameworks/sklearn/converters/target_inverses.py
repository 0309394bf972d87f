"""The `inverse_transform` of targets, for the answers of a regressor on transformed targets."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from mlflow_onnx_flavor.errors import NotExportableError
from mlflow_onnx_flavor.frameworks.sklearn.converters.estimators_kernels import erf
from mlflow_onnx_flavor.frameworks.sklearn.converters.transformers_arithmetic import expm1, log1p
from mlflow_onnx_flavor.frameworks.sklearn.converters.transformers_bins import (
    BOUNDS_THRESHOLD,
    piecewise,
)
from mlflow_onnx_flavor.frameworks.sklearn.converters.transformers_graph import Rows

Undo = Callable[[Rows, str], str]  # from a matrix (rows, targets) to one of the same shape


def inverse_of(transformer: Any) -> Undo:
    """Return the inverse of a fitted transformer; raises NotExportableError if it has none."""
    from sklearn import pipeline, preprocessing

    if transformer is None or transformer == "passthrough":
        return lambda rows, value: value
    if isinstance(transformer, pipeline.Pipeline):
        return _one_after_another([inverse_of(each) for _, each in reversed(transformer.steps)])
    if isinstance(transformer, preprocessing.FunctionTransformer):
        if transformer.inv_kw_args:
            raise NotExportableError(
                "a FunctionTransformer of targets with inv_kw_args has no ONNX form here; leave"
                " them out"
            )
        return _function(transformer.inverse_func)
    if isinstance(transformer, preprocessing.StandardScaler):
        return _linear(transformer.scale_, transformer.mean_ if transformer.with_mean else None)
    if isinstance(transformer, preprocessing.MinMaxScaler):
        scale, shift = 1 / transformer.scale_, -transformer.min_ / transformer.scale_
        return _linear(scale, shift)
    if isinstance(transformer, preprocessing.MaxAbsScaler):
        return _linear(transformer.scale_, None)
    if isinstance(transformer, preprocessing.RobustScaler):
        return _linear(transformer.scale_, transformer.center_)
    if isinstance(transformer, preprocessing.PowerTransformer):
        return _powers(transformer)
    if isinstance(transformer, preprocessing.QuantileTransformer):
        return _quantiles(transformer)
    raise NotExportableError(
        f"TransformedTargetRegressor with {type(transformer).__name__} has no ONNX form here; use"
        " func and inverse_func of numpy, a scaler, a PowerTransformer, a QuantileTransformer or a"
        " Pipeline of these"
    )


def _one_after_another(undone: list[Undo]) -> Undo:
    def undo(rows: Rows, value: str) -> str:
        for each in undone:
            value = each(rows, value)
        return value

    return undo


def _linear(scale: Any, shift: Any) -> Undo:
    def undo(rows: Rows, value: str) -> str:
        scaled = value if scale is None else rows.op("Mul", value, scale)
        return scaled if shift is None else rows.op("Add", scaled, shift)

    return undo


def _powers(transformer: Any) -> Undo:
    lambdas = np.asarray(transformer.lambdas_, np.float64)

    def undo(rows: Rows, value: str) -> str:
        if transformer.standardize:
            scaler = transformer._scaler
            value = _linear(scaler.scale_, scaler.mean_ if scaler.with_mean else None)(rows, value)
        if transformer.method == "box-cox":
            return rows.add("Exp", _logarithm(rows, value, lambdas))
        # Each sign has its own formula, which receives only numbers of that sign.
        above = expm1(rows, _logarithm(rows, rows.op("Max", value, 0.0), lambdas))
        size = rows.op("Max", rows.add("Neg", value), 0.0)
        below = rows.add("Neg", expm1(rows, _logarithm(rows, size, 2.0 - lambdas)))
        found = rows.op("Where", rows.op("GreaterOrEqual", value, 0.0), above, below)
        return rows.op("Where", rows.add("IsNaN", value), value, found)

    return undo


def _logarithm(rows: Rows, value: str, lambdas: np.ndarray) -> str:
    """Return log(lambda * x + 1) / lambda, which becomes x if lambda is 0."""
    zero = np.abs(lambdas) < np.spacing(1.0)
    divisor = np.where(zero, 1.0, lambdas)
    found = rows.op("Div", log1p(rows, rows.op("Mul", value, divisor)), divisor)
    return rows.op("Where", rows.constant(zero), value, found)


def _quantiles(transformer: Any) -> Undo:
    quantiles, references = transformer.quantiles_, transformer.references_.reshape(-1, 1)
    first, last = quantiles[0], quantiles[-1]
    is_normal = transformer.output_distribution == "normal"

    def undo(rows: Rows, value: str) -> str:
        share = _normal_share(rows, value) if is_normal else value
        columns = [
            piecewise(rows, rows.columns(share, [at]), references, each, right=True)
            for at, each in enumerate(quantiles.T)
        ]
        found = rows.joined(columns)
        if is_normal:
            at_last = rows.op("Greater", rows.op("Add", share, BOUNDS_THRESHOLD), 1.0)
            at_first = rows.op("Less", rows.op("Sub", share, BOUNDS_THRESHOLD), 0.0)
            found = rows.op("Where", at_last, last, found)
            found = rows.op("Where", at_first, first, found)
        return rows.op("Where", rows.add("IsNaN", value), value, found)

    return undo


def _normal_share(rows: Rows, value: str) -> str:
    """Return the standard normal distribution function."""
    return rows.op("Mul", rows.op("Add", erf(rows, rows.op("Mul", value, np.sqrt(0.5))), 1.0), 0.5)


def _function(function: Any) -> Undo:
    """Return the ONNX form of a function of numpy."""
    written: dict[Any, Undo] = {
        None: lambda rows, value: value,
        np.exp: lambda rows, value: rows.add("Exp", value),
        np.expm1: expm1,
        np.exp2: lambda rows, value: rows.op("Pow", 2.0, value),
        np.log: lambda rows, value: rows.add("Log", value),
        np.log1p: log1p,
        np.log2: lambda rows, value: rows.op("Div", rows.add("Log", value), float(np.log(2))),
        np.log10: lambda rows, value: rows.op("Div", rows.add("Log", value), float(np.log(10))),
        np.sqrt: lambda rows, value: rows.add("Sqrt", value),
        np.square: lambda rows, value: rows.op("Mul", value, value),
        np.cbrt: lambda rows, value: rows.op(
            "Mul", rows.add("Sign", value), rows.op("Pow", rows.add("Abs", value), 1 / 3)
        ),
        np.negative: lambda rows, value: rows.add("Neg", value),
        np.reciprocal: lambda rows, value: rows.op("Div", 1.0, value),
        np.sin: lambda rows, value: rows.add("Sin", value),
        np.sinh: lambda rows, value: rows.op(
            "Mul",
            rows.op("Sub", rows.add("Exp", value), rows.add("Exp", rows.add("Neg", value))),
            0.5,
        ),
        np.arcsinh: lambda rows, value: rows.add("Asinh", value),
        np.tanh: lambda rows, value: rows.add("Tanh", value),
    }
    if function in written:
        return written[function]
    name = getattr(function, "__qualname__", None) or getattr(function, "__name__", repr(function))
    known = ", ".join(f"numpy.{each.__name__}" for each in written if each is not None)
    raise NotExportableError(
        f"the inverse function {name} of a TransformedTargetRegressor has no ONNX form here; use"
        f" one of {known}"
    )
