"""The bridge from our graph parts and scikit-learn's trees to skl2onnx's containers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from mlflow_onnx_flavor.errors import NotExportableError
from mlflow_onnx_flavor.frameworks.sklearn.converters.rounded_rows import refuse_computed
from mlflow_onnx_flavor.onnx_graph.builder import ML_OPSET, GraphParts
from mlflow_onnx_flavor.onnx_graph.tree_ensemble import LEQ, Tree

_ML = "ai.onnx.ml"

# The converters and shape calculators that skl2onnx itself registered, by alias.
_originals: dict[str, Any] = {}
_shapes: dict[str, Any] = {}


def register(alias: str, converter: Any) -> None:
    """Replace skl2onnx's converter of ``alias``, keeping the options that it takes."""
    from skl2onnx.common._registration import register_converter

    declare_trees_opset()
    options = original(alias).get_allowed_options()
    register_converter(alias, converter, overwrite=True, options=options)


def register_shapes(alias: str, around: Callable[[Any], Any]) -> None:
    """Wrap skl2onnx's own shape calculator of ``alias`` in ``around``, never twice."""
    from skl2onnx.common._registration import get_shape_calculator, register_shape_calculator

    calculate = _shapes.setdefault(alias, get_shape_calculator(alias))
    register_shape_calculator(alias, around(calculate), overwrite=True)


def original(alias: str) -> Any:
    """Return skl2onnx's own converter of ``alias``, however often ours was registered."""
    from skl2onnx.common._registration import get_converter

    return _originals.setdefault(alias, get_converter(alias))


def parts_of(scope: Any) -> GraphParts:
    """Return parts whose names are new to the graph that skl2onnx builds."""
    return GraphParts(scope.get_unique_variable_name)


def put(parts: GraphParts, container: Any) -> None:
    """Move the parts to the graph that skl2onnx builds."""
    from onnx import defs

    standard = container.target_opset_any_domain("")
    for node in parts.nodes:
        # skl2onnx does not let a converter request the version that has TreeEnsemble; see
        # `declare_trees_opset`.
        newest = standard if not node.domain else 3
        if node.op_type != "TreeEnsemble":
            version = defs.get_schema(node.op_type, newest, node.domain).since_version
            container.node_domain_version_pair_sets.add((node.domain, version))
        container.nodes.append(node)
    container.initializers.extend(parts.initializers)


def declare_trees_opset() -> None:
    """Let a graph of skl2onnx's declare the version of ai.onnx.ml that has TreeEnsemble.

    skl2onnx 1.20 refuses any version above 3 when it writes the versions, so it is raised
    afterwards.
    """
    from skl2onnx.common import _topology

    write = _topology._update_domain_version
    if getattr(write, "raises_for_trees", False):
        return

    def write_and_raise(container: Any, onnx_model: Any, verbose: int = 0) -> Any:
        answer = write(container, onnx_model, verbose)
        if any(node.op_type == "TreeEnsemble" for node in onnx_model.graph.node):
            imported = {each.domain: each for each in onnx_model.opset_import}
            trees = imported.get(_ML) or onnx_model.opset_import.add(domain=_ML)
            trees.version = max(trees.version, ML_OPSET)
        return answer

    replacement: Any = write_and_raise
    replacement.raises_for_trees = True
    _topology._update_domain_version = replacement


def float64_rows(parts: GraphParts, operator: Any, rounded: bool) -> str:
    """Return the operator's input as float64, first ``rounded`` to float32 if the source does that.

    With ``rounded``, an input that was computed from rounded rows is refused.
    """
    if rounded:
        refuse_computed(operator)
    rows = operator.inputs[0].full_name
    if rounded and not _is(operator.inputs[0], "FloatTensorType"):
        rows = parts.cast(rows, np.float32)
    return parts.cast(rows, np.float64)


def require_float64(scope: Any, operator: Any) -> None:
    """Refuse rows that were rounded to float32 on their way into the graph.

    Only a graph with float32 inputs has such rows: the output of an encoder is exact.
    """
    narrow = any(_is(each, "FloatTensorType") for each in scope.input_variables)
    if narrow and any(_is(each, "FloatTensorType") for each in operator.inputs):
        raise NotExportableError(
            f"{type(operator.raw_operator).__name__} compares in float64, so its rows must not be"
            " rounded to float32; float64 inputs keep them"
        )


def result(parts: GraphParts, value: str, variable: Any) -> None:
    """Write the float64 ``value`` to the operator's output ``variable``, in its declared type."""
    dtype = np.float64 if _is(variable, "DoubleTensorType") else np.float32
    parts.cast(value, dtype, output=variable.full_name)


def classification_scores(
    parts: GraphParts, container: Any, model: Any, raw: str, probabilities: str
) -> str:
    """Return a classifier's scores: probabilities, or raw scores if a parent needs them.

    skl2onnx's parents take one column per class, also with two classes: -raw and raw.
    """
    if not container.get_options(model, {"raw_scores": False})["raw_scores"]:
        return probabilities
    if len(model.classes_) > 2:
        return raw
    return parts.add("Concat", parts.add("Neg", raw), raw, axis=1)


def sklearn_tree(estimator: Any, values: np.ndarray, features: Sequence[int] | None = None) -> Tree:
    """Return a fitted scikit-learn tree with ``values`` (nodes, outputs) at its leaves.

    ``features``: the columns of the rows that the estimator was given.  Rows must be rounded to
    float32, as scikit-learn rounds them before it compares with float64 thresholds.
    """
    tree = estimator.tree_
    feature = np.maximum(tree.feature, 0)
    return Tree(
        feature=feature if features is None else np.asarray(features)[feature],
        threshold=tree.threshold,
        mode=np.full(tree.node_count, LEQ),
        true_child=tree.children_left,
        false_child=tree.children_right,
        # Trees take missing values since scikit-learn 1.3.
        missing_true=np.array(getattr(tree, "missing_go_to_left", np.zeros(tree.node_count)), bool),
        value=np.asarray(values, np.float64).reshape(tree.node_count, -1),
    )


def class_fractions(estimator: Any) -> np.ndarray:
    """Return the class fractions at each node, shape (nodes, outputs, classes).

    scikit-learn before 1.3 stores the weights of the classes in place of their fractions.
    """
    values = estimator.tree_.value
    total = values.sum(axis=2, keepdims=True)
    return values if np.abs(total - 1).max() < 1e-6 else values / np.where(total == 0, 1, total)


def _is(variable: Any, name: str) -> bool:
    return type(variable.type).__name__ == name
