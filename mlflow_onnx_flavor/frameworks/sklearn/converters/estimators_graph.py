"""The bridge between our converters of classifiers, regressors and clusterers and skl2onnx.

A rule writes one class's answers as arithmetic on a float64 matrix.  An estimator that is made of
others is a combination: its parts are declared first, and a rule of its own combines their answers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from mlflow_onnx_flavor.errors import NotExportableError
from mlflow_onnx_flavor.frameworks.sklearn.converters import transformers_graph as graph
from mlflow_onnx_flavor.frameworks.sklearn.converters.transformers_graph import Rows
from mlflow_onnx_flavor.onnx_graph.builder import label_dtype

# A classifier's rule returns the position of each row's class, int64 of shape (rows,), and the
# probabilities, (rows, classes), or "" if it has none.  Any other rule returns numbers of shape
# (rows, outputs), a clusterer's int64 of shape (rows,).
Classified = tuple[str, str]

CLASSIFIER, REGRESSOR, CLUSTERER = "Classifier", "Regressor", "Clusterer"
LABELS = "Labels"  # several outputs: texts or numbers, of shape (rows, outputs)
_OPTIONS = {"nocl": [True, False], "zipmap": [True, False, "columns"]}


@dataclass(frozen=True)
class Rule:
    """The way to write one class's answers.

    ``convert(rows, model, matrix)`` writes them; ``exact``: see `transformers_graph`.
    """

    convert: Callable[[Rows, Any, str], Any]
    exact: bool = False


@dataclass(frozen=True, eq=False)
class Combination:
    """The answers of ``model``, made of the answers of its parts.

    ``convert(rows, model, values)`` receives a name for each part: numbers as float64 of shape
    (rows, columns) or (rows,), labels unchanged.  ``outputs``: the number of columns of the answer,
    unless the model is a classifier.
    """

    model: Any
    kind: str
    convert: Callable[[Rows, Any, list[str]], Any]
    outputs: int = 1


_rules: dict[type, Rule] = {}


def take(kind: str, rules: dict[type, Rule]) -> None:
    """Register ``rules`` with skl2onnx for their classes, all of one kind."""
    from skl2onnx import update_registered_converter

    declare = _declare_classifier if kind == CLASSIFIER else _declare_other
    parse = _parse_classifier if kind == CLASSIFIER else None
    for estimator, rule in rules.items():
        _rules[estimator] = rule
        update_registered_converter(
            estimator,
            f"MlflowOnnxFlavor{kind}",
            declare,
            _convert,
            parser=parse,
            options=_OPTIONS if kind == CLASSIFIER else None,
            overwrite=True,
        )


def take_combined(
    kind: str,
    parsers: Mapping[type, Callable[[Any, Any, Any], tuple[list[Any], Combination] | list[Any]]],
) -> None:
    """Register classes with skl2onnx whose ``parser(scope, model, inputs)`` declares their parts.

    A parser returns the variables of the parts and the combination of them, or the
    variables of the answers alone.
    """
    from skl2onnx import update_registered_converter
    from skl2onnx.common._registration import register_converter, register_shape_calculator

    for each in (CLASSIFIER, REGRESSOR, LABELS):
        alias = f"MlflowOnnxFlavorCombined{each}"
        register_converter(alias, _combine, overwrite=True)
        register_shape_calculator(alias, _declare_combined, overwrite=True)
    for estimator, parser in parsers.items():
        update_registered_converter(
            estimator,
            f"MlflowOnnxFlavorNested{kind}",
            _declare_nested,
            _convert_nested,
            parser=_parser_of(parser),
            options=_OPTIONS if kind == CLASSIFIER else None,
            overwrite=True,
        )


def asked(scope: Any, estimator: Any, inputs: Sequence[Any], method: str = "predict") -> Any:
    """Declare the output of ``estimator``'s ``method`` and return its variable.

    ``method``: "predict" or "predict_proba".  Raises NotExportableError if the estimator has no
    probabilities in ONNX.
    """
    from skl2onnx._parse import _parse_sklearn

    without_maps(scope, estimator)
    found = _parse_sklearn(scope, estimator, list(inputs))
    if method == "predict_proba" and len(found) < 2:
        raise NotExportableError(f"{type(estimator).__name__} gives no probabilities in ONNX")
    return found[0] if method == "predict" else found[1]


def without_maps(scope: Any, estimator: Any) -> None:
    """Request ``estimator``'s probabilities as a matrix where dictionaries are the default."""
    if _allows_zipmap(last_step(estimator)):
        scope.add_options(id(estimator), {"zipmap": False})


def last_step(model: Any) -> Any:
    """Return the estimator at the end of a pipeline; any other model itself."""
    return last_step(model.steps[-1][1]) if hasattr(model, "steps") else model


def takes_zipmap(model: Any) -> bool:
    """Return whether skl2onnx would give this model's probabilities as a list of dictionaries."""
    return hasattr(model, "predict_proba") and _allows_zipmap(model)


def _allows_zipmap(model: Any) -> bool:
    from skl2onnx._supported_operators import _get_sklearn_operator_name
    from skl2onnx.common._registration import get_converter
    from sklearn.base import is_classifier

    if not is_classifier(model):
        return False
    try:
        known = get_converter(_get_sklearn_operator_name(type(model))).get_allowed_options()
    except RuntimeError:  # no converter: the export reports that
        return False
    return isinstance(known, dict) and "zipmap" in known


def positions_of_largest(rows: Rows, scores: str) -> str:
    """Return the column of each row's largest score, the first of equals, as numpy's argmax."""
    return rows.add("ArgMax", scores, axis=1, keepdims=0)


def declared(scope: Any, variables: Sequence[Any], combination: Combination) -> list[Any]:
    """Declare the outputs of ``combination`` with the inputs ``variables``, and return them."""
    from skl2onnx.common.data_types import FloatTensorType, Int64TensorType

    operator = scope.declare_local_operator(
        f"MlflowOnnxFlavorCombined{combination.kind}", combination
    )
    operator.inputs = list(variables)
    if combination.kind == CLASSIFIER:
        operator.outputs.append(scope.declare_local_variable("label", Int64TensorType()))
        if hasattr(combination.model, "predict_proba"):
            operator.outputs.append(
                scope.declare_local_variable("probabilities", FloatTensorType())
            )
    else:
        operator.outputs.append(scope.declare_local_variable("answer", FloatTensorType()))
    return operator.outputs


def _parser_of(parser: Callable) -> Callable:
    def parse(scope: Any, model: Any, inputs: Any, custom_parsers: Any = None) -> list[Any]:
        answer = parser(scope, model, inputs)
        return declared(scope, *answer) if isinstance(answer, tuple) else answer

    return parse


def _parse_classifier(scope: Any, model: Any, inputs: Any, custom_parsers: Any = None) -> list:
    from skl2onnx.common.data_types import Int64TensorType

    operator = scope.declare_local_operator(f"MlflowOnnxFlavor{CLASSIFIER}", model)
    operator.inputs = list(inputs)
    operator.outputs.append(scope.declare_local_variable("label", Int64TensorType()))
    if hasattr(model, "predict_proba"):
        kind = graph.number_type(inputs)
        operator.outputs.append(scope.declare_local_variable("probabilities", kind()))
    return operator.outputs


def _declare_classifier(operator: Any) -> None:
    _declare_label(operator.outputs[0], _classes(operator.scope_inst, operator.raw_operator))
    if len(operator.outputs) > 1:
        kind = graph.number_type(operator.inputs)
        operator.outputs[1].type = kind([None, len(operator.raw_operator.classes_)])


def _declare_label(variable: Any, classes: Any) -> None:
    from skl2onnx.common import data_types

    variable.type = {
        "object": data_types.StringTensorType,
        "int64": data_types.Int64TensorType,
        "float64": data_types.DoubleTensorType,
    }[np.dtype(label_dtype(classes)).name]([None])


def _declare_other(operator: Any) -> None:
    from skl2onnx.common.data_types import Int64TensorType

    model = operator.raw_operator
    if operator.type.endswith(CLUSTERER):
        operator.outputs[0].type = Int64TensorType([None])
        return
    operator.outputs[0].type = graph.number_type(operator.inputs)([None, _outputs(model)])


def _outputs(model: Any) -> int:
    return int(np.size(model.predict(np.ones((1, getattr(model, "n_features_in_", 1))))))


def _classes(scope: Any, model: Any) -> Any:
    """Return the model's classes, or their positions if an estimator around it asks for them."""
    from skl2onnx.common.utils_classifier import get_label_classes

    return get_label_classes(scope, model)


def _convert(scope: Any, operator: Any, container: Any) -> None:
    model, rule = operator.raw_operator, _rules[type(operator.raw_operator)]
    if rule.exact:
        graph.refuse_rounded(scope, model, operator.inputs)
    rows = Rows(scope.get_unique_variable_name, np.float64)
    matrix = graph.matrix(rows, model, operator.inputs)
    answer = rule.convert(rows, model, matrix)
    if operator.type.endswith(CLASSIFIER):
        _classified(rows, operator, _classes(scope, model), answer)
    else:
        _given(rows, operator.outputs[0], answer)
    graph.put(rows, container)


def _declare_combined(operator: Any) -> None:
    combination = operator.raw_operator
    numbers = [each for each in operator.inputs if not graph.is_type(each, "StringTensorType")]
    kind = graph.number_type(
        [each for each in numbers if not graph.is_type(each, "Int64TensorType")]
    )
    if combination.kind == CLASSIFIER:
        _declare_label(operator.outputs[0], combination.model.classes_)
        if len(operator.outputs) > 1:
            operator.outputs[1].type = kind([None, len(combination.model.classes_)])
    else:
        if combination.kind == LABELS:
            kind = _label_type(operator.inputs)
        operator.outputs[0].type = kind([None, combination.outputs])


def _label_type(variables: Sequence[Any]) -> Any:
    """Return the type that holds the labels of every one of ``variables``."""
    from skl2onnx.common import data_types

    texts = [each for each in variables if graph.is_type(each, "StringTensorType")]
    if texts and len(texts) < len(variables):
        raise NotExportableError(
            "the labels of one output are texts and those of another numbers, which one ONNX tensor"
            " cannot hold; name all classes by texts"
        )
    whole = all(graph.is_type(each, "Int64TensorType") for each in variables)
    numbers = data_types.Int64TensorType if whole else data_types.DoubleTensorType
    return data_types.StringTensorType if texts else numbers


def _combine(scope: Any, operator: Any, container: Any) -> None:
    combination = operator.raw_operator
    rows = Rows(scope.get_unique_variable_name, np.float64)
    values = [
        each.full_name
        if graph.is_type(each, "StringTensorType")
        else rows.cast(each.full_name, np.float64)
        for each in operator.inputs
    ]
    answer = combination.convert(rows, combination.model, values)
    if combination.kind == CLASSIFIER:
        _classified(rows, operator, combination.model.classes_, answer)
    else:
        _given(rows, operator.outputs[0], answer)
    graph.put(rows, container)


def _classified(rows: Rows, operator: Any, classes: Any, answer: Classified) -> None:
    positions, probabilities = answer
    rows.label_of(positions, classes, output=operator.outputs[0].full_name)
    if len(operator.outputs) > 1:
        _given(rows, operator.outputs[1], probabilities)


def _given(rows: Rows, variable: Any, value: str) -> None:
    if graph.is_type(variable, "StringTensorType"):
        rows.add("Identity", value, output=variable.full_name)
        return
    dtypes = {"DoubleTensorType": np.float64, "Int64TensorType": np.int64}
    rows.cast(value, dtypes.get(type(variable.type).__name__, np.float32), variable.full_name)


def _declare_nested(operator: Any) -> None:
    raise NotExportableError(
        f"{type(operator.raw_operator).__name__} inside another estimator has no ONNX form here;"
        " use it as the last step of the pipeline"
    )


def _convert_nested(scope: Any, operator: Any, container: Any) -> None:
    _declare_nested(operator)
