"""Pipelines, unions and column transformers: the routing of columns in skl2onnx.

skl2onnx's own parsers take two columns for the right ones whatever their order, join columns as
float32, and let a step that also predicts give its prediction instead of its transform.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np

from mlflow_onnx_flavor.errors import NotExportableError
from mlflow_onnx_flavor.frameworks.sklearn.converters import transformers_ensembles
from mlflow_onnx_flavor.frameworks.sklearn.converters import transformers_graph as graph
from mlflow_onnx_flavor.frameworks.sklearn.text import MISSING_TEXT, is_missing
from mlflow_onnx_flavor.frameworks.tabular import names_of

_ASSEMBLY = "MlflowOnnxFlavorAssembly"


@dataclass(frozen=True)
class _Assembly:
    """Columns side by side: those of each input, or those at ``positions``, times ``weight``.

    ``owner``: the model that needs them, for messages.
    """

    owner: str
    parts: tuple[tuple[tuple[int, ...] | None, float | None], ...]

    @property
    def moves(self) -> bool:
        """True if numbers are only moved, not computed (see `rounded_rows`)."""
        return all(weight is None for _, weight in self.parts)


def register() -> None:
    """Register this file's parsers with skl2onnx."""
    from skl2onnx import update_registered_parser
    from skl2onnx.common._registration import register_converter, register_shape_calculator
    from sklearn.compose import ColumnTransformer
    from sklearn.pipeline import FeatureUnion, Pipeline

    register_converter(_ASSEMBLY, _assemble, overwrite=True)
    register_shape_calculator(_ASSEMBLY, _declare, overwrite=True)
    update_registered_parser(Pipeline, _parse_pipeline)
    update_registered_parser(FeatureUnion, _parse_union)
    update_registered_parser(ColumnTransformer, _parse_column_transformer)


def _parse_pipeline(scope: Any, model: Any, inputs: Any, custom_parsers: Any = None) -> list[Any]:
    from sklearn.base import is_classifier

    _check_empty_texts(model)
    *steps, last = (step for _, step in model.steps)
    for step in steps:
        inputs = _parse_transform(scope, step, inputs)
    if last is None or isinstance(last, str):
        return _as_one(scope, model, inputs)
    known = scope.options or {}
    if is_classifier(last) and id(last) not in known and type(last) not in known:
        asked = known.get(id(model))  # options of the pipeline are options of its classifier
        if asked:
            scope.add_options(id(last), asked)
    return _parse_any(scope, last, inputs)


def _parse_union(scope: Any, model: Any, inputs: Any, custom_parsers: Any = None) -> list[Any]:
    weights = model.transformer_weights or {}
    found, weighted = [], []
    for name, transformer in model.transformer_list:
        if isinstance(transformer, str) and transformer == "drop":
            continue
        for each in _parse_transform(scope, transformer, inputs):
            found.append(each)
            weighted.append(weights.get(name))
    return _assembled(scope, model, found, [(None, each) for each in weighted])


def _parse_column_transformer(
    scope: Any, model: Any, inputs: Any, custom_parsers: Any = None
) -> list[Any]:
    return _assembled(scope, model, *_transformed_columns(scope, model, inputs))


def _transformed_columns(
    scope: Any, model: Any, inputs: Any
) -> tuple[list[Any], list[tuple[None, float | None]]]:
    """Declare the output of each part of a ColumnTransformer, and return it with its weight."""
    weights = model.transformer_weights or {}
    places = _places(model, inputs)
    found, weighted = [], []
    for name, transformer, _ in model.transformers_:
        positions = [int(each) for each in model._transformer_to_input_indices[name]]
        if (isinstance(transformer, str) and transformer == "drop") or not positions:
            continue
        given = _picked(scope, model, inputs, [_place(places, model, at) for at in positions])
        for each in _parse_transform(scope, transformer, given):
            found.append(each)
            weighted.append(weights.get(name))
    if not found:
        raise NotExportableError("the ColumnTransformer drops every column, so nothing is left")
    return found, [(None, weight) for weight in weighted]


def _parse_transform(scope: Any, model: Any, inputs: Sequence[Any]) -> list[Any]:
    """Declare ``model.transform`` of ``inputs``; the result may be several variables."""
    from sklearn.compose import ColumnTransformer
    from sklearn.pipeline import Pipeline
    from sklearn.preprocessing import FunctionTransformer

    if model is None or isinstance(model, str):  # "passthrough"
        return list(inputs)
    if type(model) is FunctionTransformer and model.func is None:
        return list(inputs)
    if type(model) is Pipeline:
        _check_empty_texts(model)
        for _, step in model.steps:
            inputs = _parse_transform(scope, step, inputs)
        return list(inputs)
    if graph.has_rule(model):
        return graph.parse(scope, model, inputs)
    if transformers_ensembles.transforms(model):
        return transformers_ensembles.parse(scope, model, _as_one(scope, model, inputs))
    if hasattr(model, "predict"):
        raise NotExportableError(
            f"{type(model).__name__} as a transformer inside a pipeline has no ONNX form here;"
            " replace it by one that has, or make it the last step"
        )
    if type(model) is ColumnTransformer:
        found, parts = _transformed_columns(scope, model, inputs)
        if _is_mixed(found) and not model.transformer_weights:
            return found  # a step that selects columns takes them one by one
        return _assembled(scope, model, found, parts)
    return _parse_any(scope, model, inputs)[:1]


def _check_empty_texts(pipeline: Any) -> None:
    """Refuse an imputer of text before an encoder that knows the empty text as a category.

    Missing and empty are the same in ONNX, so the imputer would replace both.
    """
    from sklearn.impute import SimpleImputer

    fills = False
    for _, step in pipeline.steps:
        known = [each for some in getattr(step, "categories_", ()) for each in some]
        if fills and any(isinstance(each, str) and each == MISSING_TEXT for each in known):
            raise NotExportableError(
                f"{type(step).__name__} has the empty text as a category behind a SimpleImputer,"
                " which in ONNX cannot tell it from a missing text; replace empty texts before the"
                " model, in training and in use"
            )
        fills = fills or (isinstance(step, SimpleImputer) and is_missing(step.missing_values))


def _parse_any(scope: Any, model: Any, inputs: Sequence[Any]) -> list[Any]:
    from skl2onnx._parse import _parse_sklearn
    from sklearn.compose import ColumnTransformer
    from sklearn.pipeline import FeatureUnion, Pipeline

    takes_several = isinstance(model, ColumnTransformer | FeatureUnion | Pipeline)
    if not takes_several and not graph.has_rule(model):
        inputs = _as_one(scope, model, inputs)
    return list(_parse_sklearn(scope, model, list(inputs)))


def _as_one(scope: Any, model: Any, inputs: Sequence[Any]) -> list[Any]:
    if len(inputs) == 1:
        return list(inputs)
    return _assembled(scope, model, inputs, [(None, None)] * len(inputs))


def _is_mixed(inputs: Sequence[Any]) -> bool:
    """Return whether some inputs are text and some numbers, which one tensor cannot hold."""
    return len({graph.is_type(each, "StringTensorType") for each in inputs}) > 1


def _places(model: Any, inputs: Sequence[Any]) -> dict[Any, tuple[int, int]]:
    """Return the place of each column: by name if the model was fitted on names, else by position.

    A column that an earlier step has renamed stands where it stood in training.
    """
    widths = [graph.width_of(each) for each in inputs]
    if len(inputs) == 1 and widths[0] is None:
        widths = [model.n_features_in_]
    if None in widths:
        raise NotExportableError(
            "a ColumnTransformer is given columns whose number only an answer tells; select them"
            " in the first step of the pipeline"
        )
    known = cast("list[int]", widths)
    spots = [(number, at) for number, width in enumerate(known) for at in range(width)]
    names = [names_of(each.type) for each in inputs]
    if None not in names and hasattr(model, "feature_names_in_"):
        flat = [name for some in cast("list[tuple[str, ...]]", names) for name in some]
        if not set(flat).isdisjoint(map(str, model.feature_names_in_)):
            return dict(zip(flat, spots, strict=True))
    if len(spots) != model.n_features_in_:
        raise NotExportableError(
            f"the ColumnTransformer was fitted on {model.n_features_in_} columns and would be given"
            f" {len(spots)}; a column of dates or of mixed objects has no ONNX form: give it as"
            " numbers, for instance seconds since the epoch, or as text"
        )
    return dict(enumerate(spots))


def _place(places: dict[Any, tuple[int, int]], model: Any, at: int) -> tuple[int, int]:
    if at in places:
        return places[at]
    name = str(model.feature_names_in_[at])
    if name not in places:
        raise NotExportableError(
            f"the column {name!r} holds dates, durations or objects of several kinds, which have no"
            " ONNX form; convert it before the model, for instance to seconds since the epoch as"
            " float64, or to text"
        )
    return places[name]


def _picked(
    scope: Any, model: Any, inputs: Sequence[Any], spots: Sequence[tuple[int, int]]
) -> list[Any]:
    """Return the columns at ``spots``, in that order.

    Neighbours of one input and type stay together.
    """
    runs: list[tuple[int, list[int]]] = []
    for number, at in spots:
        if runs and runs[-1][0] == number:
            runs[-1][1].append(at)
        else:
            runs.append((number, [at]))
    found = []
    for number, columns in runs:
        variable = inputs[number]
        if columns == list(range(graph.width_of(variable) or -1)):
            found.append(variable)
        else:
            found += _assembled(scope, model, [variable], [(tuple(columns), None)])
    return found


def _assembled(
    scope: Any,
    model: Any,
    inputs: Sequence[Any],
    parts: Sequence[tuple[tuple[int, ...] | None, float | None]],
) -> list[Any]:
    if len(inputs) == 1 and parts[0] == (None, None):
        return list(inputs)
    assembly = _Assembly(type(model).__name__, tuple(parts))
    operator = scope.declare_local_operator(_ASSEMBLY, assembly)
    operator.inputs = list(inputs)
    kind = _common_type(assembly, inputs)
    widths = [
        graph.width_of(each) if columns is None else len(columns)
        for each, (columns, _) in zip(inputs, parts, strict=True)
    ]
    width = None if None in widths else sum(cast("list[int]", widths))
    operator.outputs.append(scope.declare_local_variable("assembled", kind([None, width])))
    return operator.outputs


def _common_type(assembly: _Assembly, inputs: Sequence[Any]) -> Any:
    """Return the narrowest type that holds every input's values."""
    from skl2onnx.common import data_types

    kinds = {type(each.type) for each in inputs}
    if data_types.StringTensorType in kinds and len(kinds) > 1:
        raise NotExportableError(
            f"{assembly.owner} puts text and numbers side by side, which one ONNX tensor cannot"
            " hold; encode the text columns in it, or drop them"
        )
    weighted = any(weight is not None for _, weight in assembly.parts)
    if len(kinds) == 1 and not weighted:
        return kinds.pop()
    narrow = {data_types.FloatTensorType, data_types.BooleanTensorType}
    return data_types.FloatTensorType if kinds <= narrow else data_types.DoubleTensorType


def _declare(operator: Any) -> None:
    assembly, inputs = operator.raw_operator, operator.inputs
    widths = [
        graph.width_of(each) if columns is None else len(columns)
        for each, (columns, _) in zip(inputs, assembly.parts, strict=True)
    ]
    width = None if None in widths else sum(cast("list[int]", widths))
    operator.outputs[0].type = _common_type(assembly, inputs)([None, width])


def _assemble(scope: Any, operator: Any, container: Any) -> None:
    output = operator.outputs[0]
    rows = graph.Rows(scope.get_unique_variable_name, np.float64)
    dtype = _DTYPES[type(output.type).__name__]
    rows.dtype = np.dtype(dtype)
    values = []
    for each, (columns, weight) in zip(operator.inputs, operator.raw_operator.parts, strict=True):
        value = each.full_name
        if type(each.type) is not type(output.type):
            value = rows.cast(value, dtype)
        if columns is not None:
            value = rows.columns(value, columns)
        values.append(value if weight is None else rows.op("Mul", value, weight))
    rows.add("Concat", *values, output=output.full_name, axis=1)
    graph.put(rows, container)


_DTYPES: dict[str, Any] = {
    "FloatTensorType": np.float32,
    "DoubleTensorType": np.float64,
    "Int64TensorType": np.int64,
    "BooleanTensorType": np.bool_,
    "StringTensorType": object,
}
