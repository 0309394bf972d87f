"""What is private in skl2onnx, for boosters as steps of pipelines: here and nowhere else.

Each entry says why it is needed; `tests/frameworks/boosting/test_compat.py` fails where one is
needed no longer.
"""

from __future__ import annotations

from typing import Any

from skl2onnx._parse import _apply_zipmap, _get_sklearn_operator_name
from skl2onnx.common.data_types import Int64TensorType, guess_tensor_type


def parse_as_classifier(scope: Any, model: Any, inputs: Any, custom_parsers: Any = None) -> Any:
    """Declare a classifier's two outputs for skl2onnx; returns them.

    Why: skl2onnx takes for classifiers what inherits from scikit-learn's ClassifierMixin, which
    CatBoostClassifier does not, and offers no public parser to give it instead.
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
