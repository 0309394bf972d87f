"""Functions that ONNX lacks, written with those that it has, as accurate as numpy's own."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mlflow_onnx_flavor.frameworks.sklearn.converters.transformers_graph import Rows
from mlflow_onnx_flavor.onnx_graph.tree_ensemble import LEQ, LT, Tree, add_sum

# Wichura's AS 241 (Applied Statistics 37, 1988): the normal quantile to 16 digits, by two
# quotients of polynomials: near the middle, and out to probabilities of exp(-25).
_MIDDLE = (
    (
        3.3871328727963666080e0,
        1.3314166789178437745e2,
        1.9715909503065514427e3,
        1.3731693765509461125e4,
        4.5921953931549871457e4,
        6.7265770927008700853e4,
        3.3430575583588128105e4,
        2.5090809287301226727e3,
    ),
    (
        1.0,
        4.2313330701600911252e1,
        6.8718700749205790830e2,
        5.3941960214247511077e3,
        2.1213794301586595867e4,
        3.9307895800092710610e4,
        2.8729085735721942674e4,
        5.2264952788528545610e3,
    ),
)
_TAIL = (
    (
        1.42343711074968357734e0,
        4.63033784615654529590e0,
        5.76949722146069140550e0,
        3.64784832476320460504e0,
        1.27045825245236838258e0,
        2.41780725177450611770e-1,
        2.27238449892691845833e-2,
        7.74545014278341407640e-4,
    ),
    (
        1.0,
        2.05319162663775882187e0,
        1.67638483018380384940e0,
        6.89767334985100004550e-1,
        1.48103976427480074590e-1,
        1.51986665636164571966e-2,
        5.47593808499534494600e-4,
        1.05075007164441684324e-9,
    ),
)


def log1p(rows: Rows, value: str) -> str:
    """Return log(1 + x).

    The rounding error of 1 + x is removed by dividing by the amount that was really added.
    """
    total = rows.op("Add", value, 1.0)
    added = rows.op("Sub", total, 1.0)
    nothing = rows.op("Equal", added, 0.0)
    endless = rows.add("IsInf", value)
    divisor = rows.op("Where", rows.add("Or", nothing, endless), 1.0, added)
    scaled = rows.op("Div", rows.op("Mul", rows.add("Log", total), value), divisor)
    scaled = rows.op("Where", endless, rows.add("Log", total), scaled)
    # log(0) = -inf times -1 over -1 stays -inf; below it the result is NaN, as numpy's.
    return rows.op("Where", nothing, value, scaled)


def expm1(rows: Rows, value: str) -> str:
    """Return exp(x) - 1, by Kahan's quotient if the difference would lose digits."""
    power = rows.add("Exp", value)
    difference = rows.op("Sub", power, 1.0)
    near = rows.op("Less", rows.add("Abs", value), 0.5)
    nothing = rows.op("Equal", difference, 0.0)
    inside = rows.op("Where", near, power, 2.0)
    logarithm = rows.op("Where", nothing, 1.0, rows.add("Log", inside))
    corrected = rows.op("Div", rows.op("Mul", difference, value), logarithm)
    corrected = rows.op("Where", nothing, value, corrected)
    return rows.op("Where", near, corrected, difference)


def normal_quantile(rows: Rows, probability: str) -> str:
    """Return the inverse normal distribution function, for probabilities from 1e-10 to 1 - 1e-10.

    ``rows`` must work in float64.
    """
    centred = rows.op("Sub", probability, 0.5)
    square = rows.op("Mul", centred, centred)
    middle = rows.op("Mul", centred, _quotient(rows, rows.op("Sub", 0.180625, square), _MIDDLE))
    smaller = rows.add("Min", probability, rows.op("Sub", 1.0, probability))
    smaller = rows.op("Max", smaller, 1e-10)
    depth = rows.add("Sqrt", rows.add("Neg", rows.add("Log", smaller)))
    tail = _quotient(rows, rows.op("Sub", depth, 1.6), _TAIL)
    tail = rows.op("Mul", rows.add("Sign", centred), tail)
    in_middle = rows.op("LessOrEqual", rows.add("Abs", centred), 0.425)
    return rows.op("Where", in_middle, middle, tail)


def intervals(rows: Rows, matrix: str, edges: Sequence[np.ndarray], right: bool = True) -> str:
    """Return how many of each column's ascending ``edges`` are at or below a value, as float64.

    This is `numpy.searchsorted` with side "right"; with ``right`` false it counts edges strictly
    below, as with side "left".  NaN is below every edge.  A tree finds the place in logarithmic
    time.
    """
    wide = rows.cast(matrix, np.float64)
    trees = [_search_tree(np.asarray(each, np.float64), at, right) for at, each in enumerate(edges)]
    return add_sum(rows, wide, trees, list(range(len(trees))), len(trees))


def horner(rows: Rows, value: str, coefficients: Sequence[object]) -> str:
    """Return the polynomial of ``value``, by Horner's rule.

    ``coefficients``: numbers or names, the highest power first.
    """
    first, *others = coefficients
    total = first if isinstance(first, str) else rows.number(first)
    for each in others:
        total = rows.op("Add", rows.op("Mul", total, value), each)
    return total


def _quotient(rows: Rows, value: str, polynomials: tuple[tuple[float, ...], ...]) -> str:
    above, below = (horner(rows, value, each[::-1]) for each in polynomials)
    return rows.op("Div", above, below)


def _search_tree(edges: np.ndarray, column: int, right: bool) -> Tree:
    """Return a balanced tree over ``edges`` whose leaves hold the number of edges passed."""
    if not len(edges):
        edges = np.array([np.inf])
    nodes: list[tuple[float, int, int, float]] = []

    def grow(start: int, stop: int) -> int:
        place = len(nodes)
        if start == stop:
            nodes.append((0.0, -1, -1, float(start)))
            return place
        middle = (start + stop) // 2
        nodes.append((0.0, 0, 0, 0.0))
        below = grow(start, middle)
        above = grow(middle + 1, stop)
        nodes[place] = (float(edges[middle]), below, above, 0.0)
        return place

    grow(0, len(edges))
    threshold, below, above, value = (np.array(each) for each in zip(*nodes, strict=True))
    # The branch x < edge, or x <= edge, leads to the part that has not passed the edge.
    return Tree(
        feature=np.full(len(nodes), column),
        threshold=threshold,
        mode=np.full(len(nodes), LT if right else LEQ),
        true_child=below.astype(np.int64),
        false_child=above.astype(np.int64),
        missing_true=np.ones(len(nodes), bool),
        value=value.reshape(-1, 1),
    )
