"""Transformers that look up the interval of a number: bins, quantiles, splines."""

from __future__ import annotations

from typing import Any

import numpy as np

from mlflow_onnx_flavor.errors import NotExportableError
from mlflow_onnx_flavor.frameworks.sklearn.converters.transformers_arithmetic import (
    horner,
    intervals,
    normal_quantile,
)
from mlflow_onnx_flavor.frameworks.sklearn.converters.transformers_graph import Rows, Rule
from mlflow_onnx_flavor.frameworks.sklearn.converters.transformers_graph import register as _take

BOUNDS_THRESHOLD = 1e-7  # scikit-learn's own tolerance for a value at a bound


def register() -> None:
    """Register this file's converters with skl2onnx."""
    from sklearn import preprocessing
    from sklearn.isotonic import IsotonicRegression

    _take(
        {
            preprocessing.KBinsDiscretizer: Rule(_bins, exact=True),
            # `exact`: a value that equals several quantiles stands for all of them.
            preprocessing.QuantileTransformer: Rule(_quantiles, exact=True, float64=True),
            preprocessing.SplineTransformer: Rule(_splines, float64=True),
            IsotonicRegression: Rule(_isotonic, float64=True, width=lambda model: 1),
        }
    )


def _bins(rows: Rows, model: Any, matrix: str) -> str:
    if model.dtype is not None and np.dtype(model.dtype) == np.float32:
        matrix = rows.cast(rows.cast(matrix, np.float32), rows.dtype)
    found = intervals(rows, matrix, [each[1:-1] for each in model.bin_edges_])
    # scikit-learn refuses a missing value; here it stays missing and is in no bin.
    found = rows.add("Where", rows.add("IsNaN", matrix), rows.cast(matrix, np.float64), found)
    if model.encode == "ordinal":
        return found
    counts = [len(each) for each in model._encoder.categories_]
    column = np.repeat(np.arange(len(counts)), counts)
    number = np.concatenate([np.arange(each, dtype=np.float64) for each in counts])
    spread = rows.columns(found, column)
    inside = rows.truth(rows.add("Equal", spread, rows.constant(number)))
    return rows.op("Where", rows.add("IsNaN", spread), np.nan, inside)


def _quantiles(rows: Rows, model: Any, matrix: str) -> str:
    quantiles, references = model.quantiles_, model.references_
    upper = piecewise(rows, matrix, quantiles, references, right=True)
    lower = piecewise(rows, matrix, quantiles, references, right=False)
    share = rows.op("Mul", rows.op("Add", upper, lower), 0.5)
    first, last = quantiles[0], quantiles[-1]
    if model.output_distribution == "normal":
        at_first = rows.op("Less", rows.op("Sub", matrix, BOUNDS_THRESHOLD), first)
        at_last = rows.op("Greater", rows.op("Add", matrix, BOUNDS_THRESHOLD), last)
    else:
        at_first, at_last = rows.op("Equal", matrix, first), rows.op("Equal", matrix, last)
    share = rows.op("Where", at_first, 0.0, rows.op("Where", at_last, 1.0, share))
    if model.output_distribution == "normal":
        edge = BOUNDS_THRESHOLD - np.spacing(1)
        share = normal_quantile(rows, rows.op("Clip", share, edge, 1 - edge))
    return rows.op("Where", rows.add("IsNaN", matrix), matrix, share)


def piecewise(rows: Rows, matrix: str, known: np.ndarray, values: np.ndarray, right: bool) -> str:
    """Return numpy.interp for each column.

    The last of several equal points counts if ``right``, else the first.
    """
    count = len(known)
    places = intervals(rows, matrix, list(known.T), right)
    columns = []
    for column in range(known.shape[1]):
        points = known[:, column]
        gaps = np.diff(points)
        slopes = np.divide(np.diff(values), gaps, out=np.zeros_like(gaps), where=gaps > 0)
        # Rows of the table: before the first point, between two, after the last.
        table = np.zeros((count + 1, 3))
        start = slice(0, count - 1) if right else slice(1, count)
        table[1:count] = np.column_stack([points[start], values[start], slopes])
        table[0], table[count] = (points[0], values[0], 0.0), (points[-1], values[-1], 0.0)
        place = rows.reshape(rows.cast(rows.columns(places, [column]), np.int64), -1)
        chosen = rows.add("Gather", rows.number(table), place, axis=0)
        base, value, slope = (rows.columns(chosen, [at]) for at in range(3))
        distance = rows.op("Sub", rows.columns(matrix, [column]), base)
        # Beyond the ends the slope is 0, also for an infinite value.
        rise = rows.op("Mul", slope, rows.op("Clip", distance, -_LARGE, _LARGE))
        columns.append(rows.op("Add", value, rise))
    return rows.joined(columns)


_LARGE = 1e300


def _isotonic(rows: Rows, model: Any, matrix: str) -> str:
    points, values = model.X_thresholds_, model.y_thresholds_
    if len(points) == 1:
        return rows.op("Add", rows.op("Mul", matrix, 0.0), values[0])
    found = piecewise(rows, matrix, points.reshape(-1, 1), values, right=True)
    found = rows.op("Where", rows.add("IsNaN", matrix), np.nan, found)
    if model.out_of_bounds == "clip":
        return found
    below, above = rows.op("Less", matrix, points[0]), rows.op("Greater", matrix, points[-1])
    outside = rows.add("Or", below, above)
    if model.out_of_bounds == "raise":
        return rows.raising(found, outside)
    return rows.op("Where", outside, np.nan, found)


def _splines(rows: Rows, model: Any, matrix: str) -> str:
    degree, n_splines = model.degree, model.bsplines_[0].c.shape[1]
    if model.extrapolation == "linear" and degree < 2 and len(model.bsplines_) > 1:
        raise NotExportableError(
            "SplineTransformer(extrapolation='linear') of degree 0 or 1 extrapolates the columns"
            " after the first from other knots than theirs; use a degree of 2 or more, or one"
            " transformer for each column"
        )
    edges = [each.t[degree : len(each.t) - degree] for each in model.bsplines_]
    missing = rows.add("IsNaN", matrix)
    matrix = rows.op("Where", missing, np.array([each[0] for each in edges]), matrix)
    first = np.array([each[0] for each in edges])
    last = np.array([each[-1] for each in edges])
    inside = matrix
    if model.extrapolation == "periodic":
        period = last - first
        turns = rows.op("Div", rows.op("Sub", matrix, first), np.where(period > 0, period, 1.0))
        turned = rows.op("Mul", rows.op("Sub", turns, rows.add("Floor", turns)), period)
        inside = matrix = rows.op("Add", turned, first)
        if not (period > 0).all():
            inside = matrix = rows.op("Where", rows.constant(period > 0), matrix, 0.0)
    elif model.extrapolation in ("constant", "linear"):
        inside = rows.op("Min", rows.op("Max", matrix, first), last)
    places = intervals(rows, inside, [each[1:-1] for each in edges])
    kept = n_splines if model.include_bias else n_splines - 1
    columns = []
    for column, spline in enumerate(model.bsplines_):
        table, starts = _pieces(spline, edges[column], kept)
        place = rows.reshape(rows.cast(rows.columns(places, [column]), np.int64), -1)
        pieces = rows.add("Gather", rows.number(table), place, axis=0)  # rows, powers, splines
        powers = [
            rows.add("Gather", pieces, rows.constant(at, np.int64), axis=1)
            for at in range(degree + 1)
        ]
        start = rows.add("Gather", rows.number(starts.reshape(-1, 1)), place, axis=0)
        given = rows.columns(inside, [column])
        offset = rows.op("Sub", given, start)
        value = horner(rows, offset, powers)
        if model.extrapolation == "linear" and degree > 0:
            slopes = [
                rows.op("Mul", each, float(degree - at)) for at, each in enumerate(powers[:-1])
            ]
            beyond = rows.op("Sub", rows.columns(matrix, [column]), given)
            value = rows.op("Add", value, rows.op("Mul", beyond, horner(rows, offset, slopes)))
        columns.append(rows.op("Where", rows.columns(missing, [column]), 0.0, value))
    found = rows.joined(columns)
    if model.extrapolation == "error":
        below, above = rows.op("Less", matrix, first), rows.op("Greater", matrix, last)
        found = rows.raising(found, rows.add("Or", below, above))
    return found


def _pieces(spline: Any, edges: np.ndarray, kept: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the polynomial pieces of a spline and the starts of their intervals.

    The coefficients have shape (intervals, degree + 1, splines), the highest power first.
    """
    from scipy.interpolate import PPoly

    degree, intervals_ = spline.k, len(edges) - 1
    table = np.empty((intervals_, degree + 1, kept))
    for number in range(kept):
        pieces = PPoly.from_spline((spline.t, spline.c[:, number], degree))
        coefficients = pieces.c[:, degree : degree + intervals_]
        table[:, :, number] = coefficients.T
    return table, edges[:-1]
