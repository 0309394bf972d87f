"""HistGradientBoosting: float64 thresholds, missing values and categories.

With categorical features scikit-learn encodes the rows before its trees see them: categories come
first, as their positions among the known ones, and everything unknown is missing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from mlflow_onnx_flavor.errors import NotExportableError
from mlflow_onnx_flavor.frameworks.boosting.category_codes import add_codes
from mlflow_onnx_flavor.frameworks.sklearn.converters import trees_graph
from mlflow_onnx_flavor.frameworks.sklearn.converters.trees_boosting import two_columns
from mlflow_onnx_flavor.onnx_graph.builder import GraphParts
from mlflow_onnx_flavor.onnx_graph.tree_ensemble import LEQ, MEMBER, Tree, add_sum


def register() -> None:
    """Register this file's converters, and shape calculators for several inputs, with skl2onnx."""
    trees_graph.register("SklearnHistGradientBoostingClassifier", _classifier)
    trees_graph.register("SklearnHistGradientBoostingRegressor", _regressor)
    for kind in ("Classifier", "Regressor"):
        trees_graph.register_shapes(f"SklearnHistGradientBoosting{kind}", _of_first_input)


def _of_first_input(calculate: Any) -> Any:
    """Return ``calculate`` applied to one input: output shapes are independent of their number."""
    from skl2onnx.common.data_types import DoubleTensorType

    def calculate_with_one(operator: Any) -> None:
        inputs = list(operator.inputs)
        numbers = [each for each in inputs if type(each.type).__name__ != "StringTensorType"]
        del operator.inputs[:]
        operator.inputs.extend((numbers or inputs)[:1])
        try:
            if numbers:
                calculate(operator)
            else:
                _shapes_without_numbers(calculate, operator, DoubleTensorType)
        finally:
            del operator.inputs[:]
            operator.inputs.extend(inputs)

    return calculate_with_one


def _shapes_without_numbers(calculate: Any, operator: Any, double: Any) -> None:
    """Calculate shapes for text inputs, which skl2onnx does not allow before trees.

    The calculator sees numbers of the same shape.
    """
    only = operator.inputs[0]
    text = only.type
    only._type = double(text.shape)
    try:
        calculate(operator)
    finally:
        only._type = text


def _regressor(scope: Any, operator: Any, container: Any) -> None:
    model = operator.raw_operator
    parts = trees_graph.parts_of(scope)
    raw = _raw(parts, scope, operator)
    link = type(model._loss.link).__name__
    if link == "LogLink":
        raw = parts.add("Exp", raw)
    elif link != "IdentityLink":
        raise NotExportableError(
            f"{type(model).__name__} with loss {model.loss!r} ends in {link}, which has no ONNX"
            " form here; train it with another loss"
        )
    trees_graph.result(parts, raw, operator.outputs[0])
    trees_graph.put(parts, container)


def _classifier(scope: Any, operator: Any, container: Any) -> None:
    from skl2onnx.common.utils_classifier import get_label_classes

    model = operator.raw_operator
    parts = trees_graph.parts_of(scope)
    raw = _raw(parts, scope, operator)
    label, scores = operator.outputs
    if model.n_trees_per_iteration_ == 1:
        probabilities = two_columns(parts, parts.add("Sigmoid", raw))
        flat = parts.add("Squeeze", raw, parts.constant([1], np.int64))
        best = parts.cast(parts.add("Greater", flat, parts.constant(0.0, np.float64)), np.int64)
    else:
        probabilities = parts.add("Softmax", raw, axis=1)
        best = parts.add("ArgMax", raw, axis=1, keepdims=0)
    parts.label_of(best, get_label_classes(scope, model), output=label.full_name)
    wanted = trees_graph.classification_scores(parts, container, model, raw, probabilities)
    trees_graph.result(parts, wanted, scores)
    trees_graph.put(parts, container)


def _raw(parts: GraphParts, scope: Any, operator: Any) -> str:
    model = operator.raw_operator
    trees_graph.require_float64(scope, operator)
    rows = _encoded_rows(parts, operator)
    trees, targets = [], []
    for stage in model._predictors:
        for target, predictor in enumerate(stage):
            trees.append(_tree(predictor))
            targets.append(target)
    total = add_sum(parts, rows, trees, targets, model.n_trees_per_iteration_)
    return parts.add("Add", total, parts.constant(model._baseline_prediction, np.float64))


def _tree(predictor: Any) -> Tree:
    nodes = predictor.nodes
    leaf, categorical = nodes["is_leaf"].astype(bool), nodes["is_categorical"].astype(bool)
    return Tree(
        feature=np.where(leaf, 0, nodes["feature_idx"]),
        threshold=np.where(leaf | categorical, 0.0, nodes["num_threshold"]),
        mode=np.where(categorical, MEMBER, LEQ),
        true_child=np.where(leaf, -1, nodes["left"].astype(np.int64)),
        false_child=np.where(leaf, -1, nodes["right"].astype(np.int64)),
        missing_true=nodes["missing_go_to_left"].astype(bool),
        value=nodes["value"][:, None],
        members={
            int(node): _members(predictor.raw_left_cat_bitsets[nodes["bitset_idx"][node]])
            for node in np.flatnonzero(categorical & ~leaf)
        },
    )


def _members(words: np.ndarray) -> list[int]:
    """Return the positions of the bits that are set, in words of 32 bits."""
    return [
        32 * place + bit
        for place, word in enumerate(words.tolist())
        for bit in range(32)
        if word >> bit & 1
    ]


def _encoded_rows(parts: GraphParts, operator: Any) -> str:
    """Return the rows as the trees see them, float64."""
    model = operator.raw_operator
    if getattr(model, "is_categorical_", None) is None:
        numbers = [_numbers(parts, each) for each in operator.inputs]
        return numbers[0] if len(numbers) == 1 else parts.add("Concat", *numbers, axis=1)
    if not hasattr(model, "_preprocessor"):
        raise NotExportableError(
            f"{type(model).__name__} has categorical features of a scikit-learn before 1.4, which"
            " reads them otherwise; train it again with a newer one"
        )
    columns = _columns(parts, operator.inputs)
    encoder = model._preprocessor.named_transformers_["encoder"]
    positions = np.flatnonzero(model.is_categorical_)
    encoded = [
        add_codes(parts, *columns(position), categories)
        for position, categories in zip(positions, encoder.categories_, strict=True)
    ]
    for position in np.flatnonzero(~model.is_categorical_):
        name, is_text = columns(position)
        if is_text:
            raise NotExportableError(f"column {position} holds text but was trained as numbers")
        encoded.append(name)
    return parts.add("Concat", *encoded, axis=1)


def _columns(parts: GraphParts, inputs: Sequence[Any]) -> Callable[[Any], tuple[str, bool]]:
    """A function from a column's position to its name in the graph and whether it holds text."""
    found: list[tuple[Any, int]] = []
    for each in inputs:
        found += [(each, within) for within in range(each.type.shape[1] or 1)]
    numbers: dict[str, str] = {}

    def column(position: int) -> tuple[str, bool]:
        variable, within = found[position]
        is_text = type(variable.type).__name__ == "StringTensorType"
        name = variable.full_name
        if not is_text:
            name = numbers.setdefault(name, "") or _numbers(parts, variable)
            numbers[variable.full_name] = name
        return parts.columns(name, [within]), is_text

    return column


def _numbers(parts: GraphParts, variable: Any) -> str:
    return parts.cast(variable.full_name, np.float64)
