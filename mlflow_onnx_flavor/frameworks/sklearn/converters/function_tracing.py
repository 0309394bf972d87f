"""Functions of a FunctionTransformer as arithmetic: each is called once on a stand-in for the rows.

The stand-in records what the function does.  It supports arithmetic, numpy's element-wise
functions, and the few methods by which functions of data frames select, add and drop columns.
Anything else, such as a branch on values, the number of rows or a mean over them, raises: the
function then has no ONNX form.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from collections.abc import Set as AbstractSet
from typing import Any, cast

import numpy as np
import pandas as pd

from mlflow_onnx_flavor.errors import one_line
from mlflow_onnx_flavor.frameworks.sklearn.converters.transformers_arithmetic import expm1, log1p
from mlflow_onnx_flavor.frameworks.sklearn.converters.transformers_graph import Rows
from mlflow_onnx_flavor.frameworks.sklearn.converters.truth_values import holds_truth_values

SAME = {
    "absolute": "Abs",
    "ceil": "Ceil",
    "cos": "Cos",
    "exp": "Exp",
    "fabs": "Abs",
    "floor": "Floor",
    "log": "Log",
    "negative": "Neg",
    "rint": "Round",
    "sign": "Sign",
    "sin": "Sin",
    "sqrt": "Sqrt",
    "tanh": "Tanh",
}
WRITTEN: dict[str, Callable[[Rows, str], str]] = {
    "deg2rad": lambda rows, value: rows.op("Mul", value, np.pi / 180),
    "exp2": lambda rows, value: rows.op("Pow", 2.0, value),
    "expm1": expm1,
    "log10": lambda rows, value: rows.op("Div", rows.add("Log", value), np.log(10.0)),
    "log1p": log1p,
    "log2": lambda rows, value: rows.op("Div", rows.add("Log", value), np.log(2.0)),
    "positive": lambda rows, value: value,
    "square": lambda rows, value: rows.op("Mul", value, value),
    "trunc": lambda rows, value: rows.op(
        "Mul", rows.add("Sign", value), rows.add("Floor", rows.add("Abs", value))
    ),
}
# These functions have jumps, so an input that was rounded may end on the other side of one.
STEPS = ("ceil", "floor", "rint", "sign", "trunc")
_ARITHMETIC = {
    "add": "Add",
    "divide": "Div",
    "multiply": "Mul",
    "power": "Pow",
    "subtract": "Sub",
}
_COMPARISONS = {
    "equal": "Equal",
    "greater": "Greater",
    "greater_equal": "GreaterOrEqual",
    "less": "Less",
    "less_equal": "LessOrEqual",
}
_LOGIC = {"bitwise_and": "And", "bitwise_or": "Or", "logical_and": "And", "logical_or": "Or"}


class UntraceableError(Exception):
    """The function uses an operation that cannot be traced; the message names it."""


class Trace:
    """The record of a traced function.

    ``jumps``: the function compared or rounded.  ``truths``: the input values that are booleans.
    """

    def __init__(self, rows: Rows, truths: AbstractSet[str]):
        self.rows, self.jumps, self.truths = rows, False, truths


def trace(rows: Rows, function: Callable, matrix: str, names: Sequence[Any]) -> Traced:
    """Return the result of ``function`` on ``matrix``, with two axes; raises UntraceableError.

    ``names``: the names of the matrix's columns if it stands for a data frame, else their numbers.
    """
    columns = [rows.columns(matrix, [at]) for at in range(len(names))]
    try:
        named = zip(columns, names, strict=True)
        truths = {column for column, name in named if holds_truth_values(name)}
        found = function(Traced(Trace(rows, truths), columns, list(names)))
    except UntraceableError:
        raise
    except Exception as error:  # a function may raise anything on input that it does not expect
        raise UntraceableError(f"{type(error).__name__}: {one_line(error)}") from error
    if not isinstance(found, Traced) or found.flat:
        raise UntraceableError("what it returns is not made of the rows alone, with two axes")
    return found


class Traced(np.lib.mixins.NDArrayOperatorsMixin):
    """A stand-in for an array or a data frame: a value of shape (rows, 1) for each column.

    ``flat``: it has one axis only.  ``is_truth``: its values are booleans.
    """

    __hash__ = None  # type: ignore[assignment]  # typed as a method alone, None is Python's own way

    def __init__(
        self,
        noted: Trace,
        columns: list[str],
        names: list[Any],
        flat: bool = False,
        is_truth: bool = False,
    ):
        self._noted, self._columns, self._names = noted, columns, names
        self.flat, self._is_truth = flat, is_truth

    @property
    def jumped(self) -> bool:
        """True if the function compared or rounded on the way."""
        return self._noted.jumps

    @property
    def width(self) -> int:
        """The number of columns."""
        return len(self._columns)

    def joined(self) -> str:
        """Return the numbers as one value, shape (rows, columns)."""
        return self._noted.rows.joined([self._number(at) for at in range(self.width)])

    def __array_ufunc__(self, ufunc: Any, method: str, *given: Any, **options: Any) -> Traced:
        if method != "__call__" or options:
            raise UntraceableError(f"it calls numpy.{ufunc.__name__}.{method} with options")
        name = ufunc.__name__
        if getattr(np, name, None) is not ufunc:
            raise UntraceableError(f"it calls {name}, which is not numpy's")
        if len(given) == 1:
            return self._each(name)
        if len(given) == 2:
            return self._pairwise(name, *given)
        raise UntraceableError(f"it calls numpy.{name}")

    def __array_function__(self, function: Any, types: Any, given: Any, options: Any) -> Traced:
        if function is np.ndim:  # numpy.c_ asks for it before it makes an array
            raise UntraceableError("it joins columns by numpy.c_; use numpy.column_stack")
        if function is np.where and len(given) == 3 and not options:
            return self._chosen(*given)
        if function is np.clip:
            return self.clip(*given[1:], **options)
        if function is np.column_stack and not options:
            return self._side_by_side(given[0])
        if function is np.hstack and not options and not any(map(_is_flat, given[0])):
            return self._side_by_side(given[0])
        if function is np.concatenate and (given[1:] == (1,) or options == {"axis": 1}):
            return self._side_by_side(given[0])
        raise UntraceableError(f"it calls numpy.{function.__name__}")

    def __array__(self, *_given: Any, **_options: Any) -> Any:
        raise UntraceableError("it makes an array of the rows; use numpy's functions on them")

    def __bool__(self) -> bool:
        raise UntraceableError("it branches on values; use numpy.where")

    def __len__(self) -> int:
        raise UntraceableError("it asks how many rows there are")

    def __iter__(self) -> Any:
        raise UntraceableError("it goes through the rows in a loop")

    def __getitem__(self, key: Any) -> Traced:
        if self.flat:
            raise UntraceableError("it picks single rows")
        if isinstance(key, tuple) and len(key) == 2 and key[0] == slice(None):
            if self._is_frame():
                raise UntraceableError("it picks columns of a data frame by X[:, ...]")
            return self._picked(key[1], range(self.width))
        if self._is_frame() and (isinstance(key, str) or _are_texts(key)):
            return self._picked(key, self._names)
        raise UntraceableError("it picks rows")

    def __setitem__(self, key: Any, value: Any) -> None:
        if not self._is_frame() or not isinstance(key, str):
            raise UntraceableError("it writes into the rows")
        column = self._number_of(value)
        if key in self._names:
            self._columns[self._names.index(key)] = column
        else:
            self._columns.append(column)
            self._names.append(key)

    @property
    def columns(self) -> pd.Index:
        """The column names, as in a data frame."""
        return pd.Index(self._names)

    @property
    def ndim(self) -> int:
        """The number of axes, 1 or 2."""
        return 1 if self.flat else 2

    def copy(self, deep: bool = True) -> Traced:
        """Return a copy, as an array or a data frame does."""
        return self._like(list(self._columns), self._is_truth)

    @property
    def values(self) -> Traced:
        """The same columns as an array, as in a data frame."""
        return self.to_numpy()

    def to_numpy(self) -> Traced:
        """Return the same columns as an array, as a data frame does."""
        if not self._is_frame():
            raise UntraceableError("it takes an array for a data frame")
        numbers = list(range(self.width))
        return Traced(self._noted, list(self._columns), numbers, self.flat, self._is_truth)

    def astype(self, dtype: Any) -> Traced:
        """Return the values as floats, as an array or a data frame does; other dtypes raise."""
        if np.dtype(dtype) not in (np.float64, np.float32):
            raise UntraceableError(f"it makes the rows {np.dtype(dtype)}")
        rows, numbers = self._noted.rows, [self._number(at) for at in range(self.width)]
        return self._like([rows.op("Mul", each, 1.0) for each in numbers], False)

    def clip(self, lower: Any = None, upper: Any = None, **named: Any) -> Traced:
        """Return the values clipped to the bounds, as an array or a data frame does."""
        lower, upper = named.pop("a_min", lower), named.pop("a_max", upper)
        lower, upper = named.pop("min", lower), named.pop("max", upper)
        if named:
            raise UntraceableError(f"it calls clip with {', '.join(named)}")
        found = self
        if lower is not None:
            found = np.maximum(found, lower)
        return found if upper is None else np.minimum(found, upper)

    def fillna(self, value: float) -> Traced:
        """Return the columns with missing values replaced by one number, as a data frame does."""
        return self._chosen(np.isnan(self), value, self)

    def abs(self) -> Traced:
        """As of a data frame."""
        return cast("Traced", np.absolute(self))

    def assign(self, **columns: Any) -> Traced:
        """Return the columns with new or replaced ones, as a data frame does."""
        found = self.copy()
        for name, value in columns.items():
            found[name] = value(found) if callable(value) else value
        return found

    def drop(self, *, columns: Any) -> Traced:
        """Return the columns without some of them, as a data frame does."""
        dropped = [columns] if isinstance(columns, str) else list(columns)
        return self[[each for each in self._names if each not in dropped]]

    def reshape(self, *shape: Any) -> Traced:
        """Return an array of one axis as one column; other shapes raise."""
        if self._is_frame() or not self.flat or shape not in ((-1, 1), ((-1, 1),)):
            raise UntraceableError("it gives the rows another shape")
        return Traced(self._noted, list(self._columns), [0], False, self._is_truth)

    def _is_frame(self) -> bool:
        return all(isinstance(each, str) for each in self._names)

    def _like(self, columns: list[str], is_truth: bool) -> Traced:
        return Traced(self._noted, columns, list(self._names), self.flat, is_truth)

    def _picked(self, key: Any, places: Sequence[Any]) -> Traced:
        every = list(places)
        if isinstance(key, slice):
            chosen = every[key]
        elif isinstance(key, list | tuple | np.ndarray | pd.Index):
            chosen = [every[each] if places is not self._names else each for each in key]
        else:
            at = every.index(key) if places is self._names else every[key]
            return Traced(self._noted, [self._columns[at]], [self._names[at]], True, self._is_truth)
        found = [every.index(each) for each in chosen]
        names = [self._names[at] for at in found]
        columns = [self._columns[at] for at in found]
        return Traced(self._noted, columns, names, False, self._is_truth)

    def _number(self, at: int) -> str:
        value = self._columns[at]
        return self._noted.rows.truth(value) if self._is_truth else value

    def _number_of(self, value: Any) -> str:
        """Return one column as numbers."""
        if isinstance(value, Traced):
            if value.width != 1:
                raise UntraceableError("it writes several columns into one")
            return value._number(0)
        rows = self._noted.rows
        kept = rows.op("Equal", self._columns[0], self._columns[0])
        constant = rows.number(float(value))
        return rows.add("Where", kept, constant, constant)

    def _each(self, name: str) -> Traced:
        rows, numbers = self._noted.rows, [self._number(at) for at in range(self.width)]
        self._noted.jumps |= name in STEPS
        if name in SAME:
            return self._like([rows.add(SAME[name], each) for each in numbers], False)
        if name in WRITTEN:
            return self._like([WRITTEN[name](rows, each) for each in numbers], False)
        if name == "isnan":
            return self._like([rows.add("IsNaN", each) for each in numbers], True)
        if name in ("logical_not", "invert") and self._is_truth:
            return self._like([rows.add("Not", each) for each in self._columns], True)
        raise UntraceableError(f"it calls numpy.{name}")

    def _pairwise(self, name: str, left: Any, right: Any) -> Traced:
        shape = self._shape_of(left, right)
        lefts, rights = self._operands(left, shape), self._operands(right, shape)
        rows, pairs = self._noted.rows, list(zip(lefts, rights, strict=True))
        truths = all(isinstance(each, Traced) and each._is_truth for each in (left, right))
        if name in _LOGIC and truths:
            both = zip(left._columns, right._columns, strict=True)
            return shape._like([rows.add(_LOGIC[name], *each) for each in both], True)
        if name == "add" and any(set(each) <= self._noted.truths for each in pairs):
            raise UntraceableError(
                "it adds columns of truth values, which numpy takes for a logical or; make them"
                " numbers first, by astype(float)"
            )
        if name in _ARITHMETIC and not truths:
            return shape._like([rows.op(_ARITHMETIC[name], *each) for each in pairs], False)
        if name in ("maximum", "minimum"):
            order = "Greater" if name == "maximum" else "Less"
            return shape._like([_extreme(rows, order, *each) for each in pairs], False)
        if name in _COMPARISONS or name == "not_equal":
            self._noted.jumps = True
            found = [rows.op(_COMPARISONS.get(name, "Equal"), *each) for each in pairs]
            if name == "not_equal":
                found = [rows.add("Not", each) for each in found]
            return shape._like(found, True)
        raise UntraceableError(f"it calls numpy.{name}")

    def _chosen(self, condition: Any, left: Any, right: Any) -> Traced:
        if not isinstance(condition, Traced) or not condition._is_truth:
            raise UntraceableError("it calls numpy.where without a comparison of the rows")
        shape = self._shape_of(condition, left, right)
        lefts, rights = self._operands(left, shape), self._operands(right, shape)
        rows, found = self._noted.rows, []
        for truth, yes, no in zip(condition._columns, lefts, rights, strict=True):
            found.append(rows.add("Where", truth, yes, no))
        return shape._like(found, False)

    def _side_by_side(self, parts: Sequence[Any]) -> Traced:
        columns: list[str] = []
        for each in parts:
            if not isinstance(each, Traced):
                raise UntraceableError("it joins the rows with other arrays")
            columns += [each._number(at) for at in range(each.width)]
        return Traced(self._noted, columns, list(range(len(columns))))

    def _shape_of(self, *operands: Any) -> Traced:
        """Return the operand whose shape and names the result has.

        Operands with different names or numbers of columns raise: pandas would align them by name.
        """
        traced = [each for each in operands if isinstance(each, Traced)]
        first = traced[0]
        for each in traced[1:]:
            names_differ = each._is_frame() and not each.flat and each._names != first._names
            if each.flat != first.flat or each.width != first.width or names_differ:
                raise UntraceableError("it computes with columns of different names or numbers")
        return first

    def _operands(self, value: Any, shape: Traced) -> list[str]:
        """Return the name of a column of numbers for each column."""
        if isinstance(value, Traced):
            return [value._number(at) for at in range(value.width)]
        array = np.asarray(value, np.float64)
        if array.ndim == 0:
            return [self._noted.rows.number(array)] * shape.width
        if shape.flat or array.shape != (shape.width,):
            raise UntraceableError("it computes with an array that is no number for each column")
        return [self._noted.rows.number(each) for each in array]


def _extreme(rows: Rows, order: str, left: str, right: str) -> str:
    """Return the greater or the lesser of the two values, NaN if either is NaN."""
    takes_left = rows.add("Or", rows.op(order, left, right), rows.op("IsNaN", left))
    return rows.add("Where", takes_left, left, right)


def _is_flat(value: Any) -> bool:
    return isinstance(value, Traced) and value.flat


def _are_texts(key: Any) -> bool:
    return isinstance(key, list | pd.Index) and all(isinstance(each, str) for each in key)
