"""Private API of skl2onnx for boosters as steps of pipelines; no other file here uses any.

Each entry says why it is needed; `tests/frameworks/boosting/test_compat.py` fails if one is no
longer needed.
"""

from __future__ import annotations

from typing import Any

from skl2onnx._parse import _apply_zipmap, _get_sklearn_operator_name
from skl2onnx.common.data_types import Int64TensorType, guess_tensor_type


def parse_as_classifier(scope: Any, model: Any, inputs: Any, custom_parsers: Any = None) -> Any:
    """Declare a classifier's two outputs for skl2onnx and return them.

    Why: skl2onnx recognises a classifier by scikit-learn's ClassifierMixin, from which
    CatBoostClassifier does not inherit, and it offers no public parser to use instead.
    """
    operator = scope.declare_local_operator(_get_sklearn_operator_name(type(model)), model)
    operator.inputs = inputs
    kind = guess_tensor_type(inputs[0].type)
    operator.outputs.append(scope.declare_local_variable("label", Int64TensorType()))
    operator.outputs.append(scope.declare_local_variable("probabilities", kind))
    options = scope.get_options(model, {"zipmap": True}, fail=False)
    if options["zipmap"] is False:
        return operator.outputs
    return _apply_zipmap(options["zipmap"], scope, model, inputs[0].type, operator.outputs)
