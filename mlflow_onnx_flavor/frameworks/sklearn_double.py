"""Mend what skl2onnx gets wrong for float64 input, so that float64 pipelines convert.

1. SimpleImputer becomes ai.onnx.ml's Imputer, which onnxruntime has for float32 only: written here
   with Where, and with the statistics in float64.
2. Tree ensembles give float32 by the standard, where skl2onnx declares float64: cast behind them.
3. The thresholds of tree ensembles are float32 by the standard: cast in front of them, so that a
   value and a threshold that are equal are rounded alike.  It is also what scikit-learn's own trees
   do (all but histogram-based boosting).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import onnx

_TREES = ("TreeEnsembleRegressor", "TreeEnsembleClassifier")
_FLOAT, _DOUBLE = 1, 11  # onnx.TensorProto.DataType


def register_double_imputer() -> None:
    """Replace skl2onnx's converter of SimpleImputer for float64; other types go to the original."""
    from skl2onnx.common._registration import register_converter
    from skl2onnx.common.data_types import DoubleTensorType
    from skl2onnx.operator_converters.imputer_op import convert_sklearn_imputer

    def convert(scope: Any, operator: Any, container: Any) -> None:
        if isinstance(operator.inputs[0].type, DoubleTensorType):
            _convert_double_imputer(scope, operator, container)
        else:
            convert_sklearn_imputer(scope, operator, container)

    register_converter("SklearnSimpleImputer", convert, overwrite=True)


def cast_around_trees(model: onnx.ModelProto) -> None:
    """Put the casts of rules 2 and 3 around every tree ensemble of ``model``."""
    from onnx import helper

    declared = {each.name: each.type.tensor_type.elem_type for each in model.graph.output}
    nodes = list(model.graph.node)
    mended = []
    for node in nodes:
        if node.op_type not in _TREES:
            mended.append(node)
            continue
        narrowed = f"{node.input[0]}_{node.output[-1]}_narrowed"
        mended.append(helper.make_node("Cast", [node.input[0]], [narrowed], to=_FLOAT))
        node.input[0] = narrowed
        mended.append(node)
        scores = node.output[-1]
        if declared.get(scores, _DOUBLE) == _DOUBLE:
            node.output[len(node.output) - 1] = f"{scores}_float32"
            mended.append(helper.make_node("Cast", [f"{scores}_float32"], [scores], to=_DOUBLE))
    del model.graph.node[:]
    model.graph.node.extend(mended)


def _convert_double_imputer(scope: Any, operator: Any, container: Any) -> None:
    from skl2onnx.operator_converters.common import concatenate_variables

    imputer = operator.raw_operator
    rows = concatenate_variables(scope, operator.inputs, container)
    statistics = scope.get_unique_variable_name("statistics")
    container.add_initializer(
        statistics, _DOUBLE, [1, len(imputer.statistics_)], imputer.statistics_.astype(np.float64)
    )
    missing = scope.get_unique_variable_name("missing")
    if _is_nan(imputer.missing_values):
        container.add_node(
            "IsNaN", [rows], [missing], name=scope.get_unique_operator_name("IsNaN"), op_version=13
        )
    else:
        marker = scope.get_unique_variable_name("missing_value")
        container.add_initializer(marker, _DOUBLE, [1], [float(imputer.missing_values)])
        container.add_node(
            "Equal",
            [rows, marker],
            [missing],
            name=scope.get_unique_operator_name("Equal"),
            op_version=13,
        )
    container.add_node(
        "Where",
        [missing, statistics, rows],
        [operator.outputs[0].full_name],
        name=scope.get_unique_operator_name("Where"),
        op_version=16,
    )


def _is_nan(value: Any) -> bool:
    return isinstance(value, float) and np.isnan(value)
