"""The bridge between our converters of transformers and skl2onnx: one rule per class, one operator.

A rule writes `transform` as arithmetic on a matrix of numbers, or on the single columns if a
transformer also takes text.  A class that predicts as well (KMeans, Birch, ...) keeps the operator
of its prediction; inside a pipeline it uses this one (`transformers_composition`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np

from mlflow_onnx_flavor.errors import NotExportableError
from mlflow_onnx_flavor.frameworks.sklearn.converters import rounded_rows, trees_graph
from mlflow_onnx_flavor.onnx_graph.builder import GraphParts

OUTSIDE = 2**40  # an index outside every table

CONTRIB = "com.microsoft"  # domain of onnxruntime's own operators; they have one version

ALIAS = "MlflowOnnxFlavorTransform"


class Rows(GraphParts):
    """Graph parts that accept numbers in place of a value's name and make them constants.

    The constants have the working dtype ``dtype``.
    """

    def __init__(self, unique: Callable[[str], str], dtype: Any):
        super().__init__(unique)
        self.dtype = np.dtype(dtype)

    def op(self, op_type: str, *operands: Any, **attributes: Any) -> str:
        """Add a node and return its value; operands that are no names become constants."""
        names = [each if isinstance(each, str) else self.number(each) for each in operands]
        return self.add(op_type, *names, **attributes)

    def number(self, values: Any) -> str:
        """Add a constant of the working dtype and return its name."""
        return self.constant(np.asarray(values).astype(self.dtype))

    def whole(self, values: Any) -> str:
        """Add a constant of int64 and return its name."""
        return self.constant(values, np.int64)

    def reduce(self, op_type: str, value: str, axis: int = 1, keepdims: bool = True) -> str:
        """Add a reduction over one axis and return its value."""
        return self.add(op_type, value, self.whole([axis]), keepdims=int(keepdims))

    def reshape(self, value: str, *shape: int) -> str:
        """Add a Reshape to ``shape`` and return its value."""
        return self.add("Reshape", value, self.whole(shape))

    def truth(self, condition: str) -> str:
        """Return 1 for elements where ``condition`` holds, else 0, in the working dtype."""
        return self.cast(condition, self.dtype)

    def smallest(self, value: str, count: int | str) -> tuple[str, str]:
        """Return the ``count`` smallest numbers of each row, ascending, and their positions."""
        from onnx import helper

        found, where = self._unique("smallest"), self._unique("where")
        self.nodes.append(
            helper.make_node(
                "TopK",
                [value, count if isinstance(count, str) else self.whole([count])],
                [found, where],
                name=f"{found}_node",
                axis=1,
                largest=0,
                sorted=1,
            )
        )
        return found, where

    def raising(self, value: str, condition: str) -> str:
        """Return ``value``; onnxruntime raises if ``condition`` holds for any element.

        onnxruntime has no operator for that, so the graph uses an index outside its table.
        """
        flags = self.reshape(self.cast(condition, np.int64), -1)
        some = self.add("ReduceMax", flags, keepdims=0)
        index = self.add("Mul", some, self.whole(OUTSIDE))
        return self.add("Mul", value, self.add("Gather", self.number([1.0]), index, axis=0))

    def joined(self, values: Sequence[str], axis: int = 1) -> str:
        """Return the values concatenated along ``axis``."""
        return values[0] if len(values) == 1 else self.add("Concat", *values, axis=axis)


@dataclass(frozen=True)
class Column:
    """One column of the input, shape (rows, 1): numbers of float64, or text."""

    name: str
    text: bool


@dataclass(frozen=True)
class Rule:
    """The way to write one class's `transform`.

    ``convert(rows, model, matrix)`` returns the name of its result; with ``by_column`` it receives
    a list of `Column` in place of the matrix.  ``exact``: a number rounded to float32 could be
    mistaken for another, so such rows are refused.  ``float64``: the rule computes in float64 even
    for float32 rows, since it subtracts large numbers.  ``keeps_text``: text input gives text
    output.  ``moves``: the rule only moves numbers (see `rounded_rows`).  ``width``: the number of
    columns of the result.
    """

    convert: Callable[[Rows, Any, Any], str]
    exact: bool | Callable[[Any], bool] = False
    float64: bool = False
    by_column: bool = False
    keeps_text: bool = False
    moves: bool = False
    width: Callable[[Any], int] | None = None


_rules: dict[type, Rule] = {}


def register(rules: dict[type, Rule]) -> None:
    """Register ``rules`` for their classes.

    A class that does not predict is also registered with skl2onnx, so its rule applies outside of
    pipelines too.
    """
    from skl2onnx import update_registered_converter
    from skl2onnx.common._registration import register_converter, register_shape_calculator

    register_converter(ALIAS, _convert, overwrite=True)
    register_shape_calculator(ALIAS, _declare, overwrite=True)
    for kind, rule in rules.items():
        _rules[kind] = rule
        if rule.moves:
            rounded_rows.take_moving(ALIAS, kind)
        if not hasattr(kind, "predict"):
            update_registered_converter(
                kind, ALIAS, _declare, _convert, parser=_parse, overwrite=True
            )


def has_rule(model: Any) -> bool:
    """Return whether the model's class has a rule."""
    return type(model) in _rules


def rule_of(model: Any) -> Rule:
    """Return the rule of the model's class."""
    return _rules[type(model)]


def parse(scope: Any, model: Any, inputs: Sequence[Any]) -> list[Any]:
    """Declare the operator of ``model.transform`` and return its one output."""
    operator = scope.declare_local_operator(ALIAS, model)
    operator.inputs = list(inputs)
    width = _width(model)
    kind = _result_type(model, inputs)
    # skl2onnx rejects a variable without columns, the output of a selector that selects nothing,
    # but accepts it as one whose shape is not known yet.
    kind = kind([None, width]) if width else kind()
    operator.outputs.append(scope.declare_local_variable("transformed", kind))
    return operator.outputs


def put(rows: Rows, container: Any) -> None:
    """Move the parts to the graph that skl2onnx builds, which sorts its nodes."""
    own = [node for node in rows.nodes if node.domain == CONTRIB]
    if own:
        container.node_domain_version_pair_sets.add((CONTRIB, 1))
        container.nodes.extend(own)
        rows.nodes = [node for node in rows.nodes if node.domain != CONTRIB]
    trees_graph.put(rows, container)


def width_of(variable: Any) -> int | None:
    """Return the number of columns of a skl2onnx variable; None if it is unknown."""
    shape = variable.type.shape
    return shape[1] if len(shape) == 2 else None


def is_type(variable: Any, name: str) -> bool:
    """Return whether a skl2onnx variable has the type of that name."""
    return type(variable.type).__name__ == name


def number_type(inputs: Sequence[Any]) -> Any:
    """Return skl2onnx's type of results: float32 for float32 and text inputs, else float64."""
    from skl2onnx.common.data_types import DoubleTensorType, FloatTensorType

    narrow = ("FloatTensorType", "StringTensorType")
    exact = all(any(is_type(each, name) for name in narrow) for each in inputs)
    return FloatTensorType if exact else DoubleTensorType


def refuse_rounded(scope: Any, model: Any, inputs: Sequence[Any]) -> None:
    """Refuse rows rounded by a float32 graph input: the transformer distinguishes close numbers."""
    narrow = any(is_type(each, "FloatTensorType") for each in scope.input_variables)
    if narrow and any(is_type(each, "FloatTensorType") for each in inputs):
        raise NotExportableError(
            f"{type(model).__name__} compares numbers exactly, so its rows must not be rounded to"
            " float32; float64 inputs keep them"
        )


def _parse(scope: Any, model: Any, inputs: Any, custom_parsers: Any = None) -> list[Any]:
    return parse(scope, model, inputs)


def _result_type(model: Any, inputs: Sequence[Any]) -> Any:
    from skl2onnx.common.data_types import StringTensorType

    if rule_of(model).keeps_text and all(is_type(each, "StringTensorType") for each in inputs):
        return StringTensorType
    return number_type(inputs)


def _declare(operator: Any) -> None:
    model = operator.raw_operator
    operator.outputs[0].type = _result_type(model, operator.inputs)([None, _width(model)])


def _width(model: Any) -> int | None:
    rule = rule_of(model)
    if rule.width is not None:
        return rule.width(model)
    try:
        return len(model.get_feature_names_out())
    except (AttributeError, ValueError, TypeError):
        return int(np.shape(model.transform(np.ones((1, model.n_features_in_))))[1])


def _convert(scope: Any, operator: Any, container: Any) -> None:
    model, inputs, output = operator.raw_operator, operator.inputs, operator.outputs[0]
    rule = rule_of(model)
    _check_width(model, inputs)
    if rule.exact(model) if callable(rule.exact) else rule.exact:
        refuse_rounded(scope, model, inputs)
    only_float32 = all(is_type(each, "FloatTensorType") for each in inputs)
    narrow = only_float32 and not rule.float64 and not rule.by_column
    rows = Rows(scope.get_unique_variable_name, np.float32 if narrow else np.float64)
    given = _columns(rows, inputs) if rule.by_column else matrix(rows, model, inputs)
    result = rule.convert(rows, model, given)
    if is_type(output, "StringTensorType"):
        rows.add("Identity", result, output=output.full_name)
    else:
        dtype = np.float64 if is_type(output, "DoubleTensorType") else np.float32
        rows.cast(result, dtype, output=output.full_name)
    put(rows, container)


def matrix(rows: Rows, model: Any, inputs: Sequence[Any]) -> str:
    """Return the inputs side by side, as numbers of the working dtype."""
    if any(is_type(each, "StringTensorType") for each in inputs):
        raise NotExportableError(
            f"{type(model).__name__} is given text; encode it first, for instance with"
            " OneHotEncoder in a ColumnTransformer"
        )
    return rows.joined([rows.cast(each.full_name, rows.dtype) for each in inputs])


def _columns(rows: Rows, inputs: Sequence[Any]) -> list[Column]:
    found = []
    for each in inputs:
        text = is_type(each, "StringTensorType")
        value = each.full_name if text else rows.cast(each.full_name, np.float64)
        width = width_of(each)
        if len(each.type.shape) == 1:  # texts alone, as an array of one axis
            found.append(Column(rows.reshape(value, -1, 1), text))
        elif width == 1:
            found.append(Column(value, text))
        else:
            found += [Column(rows.columns(value, [at]), text) for at in range(width or 0)]
    return found


def _check_width(model: Any, inputs: Sequence[Any]) -> None:
    widths = [width_of(each) for each in inputs]
    wanted = getattr(model, "n_features_in_", None)
    if None in widths:
        return
    given = sum(cast("list[int]", widths))
    if wanted is not None and given != wanted:
        raise NotExportableError(
            f"{type(model).__name__} was fitted on {wanted} columns and would be given"
            f" {given} in ONNX; a column of dates or of mixed objects has no ONNX form: give"
            " it as numbers, for instance seconds since the epoch, or as text"
        )
