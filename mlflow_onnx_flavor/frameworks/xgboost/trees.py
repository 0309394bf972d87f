"""XGBoost's trees, linear models and objectives as graph parts, from the JSON of a booster.

XGBoost rounds rows to float32 and compares them with float32 thresholds.  It sums leaves in
float32, while the graph sums in float64 and rounds once, so margins may differ in the last digit.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from mlflow_onnx_flavor.errors import NotExportableError
from mlflow_onnx_flavor.onnx_graph.builder import GraphParts
from mlflow_onnx_flavor.onnx_graph.tree_ensemble import LT, MEMBER, Tree, add_sum, add_vector_sum

_LOGISTIC = ("reg:logistic", "binary:logistic")
_EXPONENTIAL = ("count:poisson", "reg:gamma", "reg:tweedie", "survival:cox", "survival:aft")
_IDENTITY = (
    "reg:squarederror",
    "reg:linear",
    "reg:squaredlogerror",
    "reg:pseudohubererror",
    "reg:absoluteerror",
    "reg:quantileerror",
    "reg:expectileerror",
    "binary:logitraw",
    "rank:ndcg",
    "rank:pairwise",
    "rank:map",
)


@dataclass(frozen=True)
class XgboostModel:
    """The part of a booster that predicts: trees or a linear model.

    ``outputs``: the number of margins per row; ``base``: the margins' initial values.  The model
    has either ``trees``, with the margin to which each adds in ``targets``, or ``weights`` of shape
    (features + 1, outputs).
    """

    objective: str
    outputs: int
    base: np.ndarray
    features: int
    trees: tuple[Tree, ...] = ()
    targets: tuple[int, ...] = ()
    weights: np.ndarray | None = None
    categorical: tuple[int, ...] = ()


def parsed(booster: Any, rounds: int | None = None) -> XgboostModel:
    """Return the model of an `xgboost.Booster`, from its first ``rounds`` rounds or all."""
    learner = json.loads(booster.save_raw("json"))["learner"]
    objective, facts = learner["objective"]["name"], learner["learner_model_param"]
    outputs = max(int(facts["num_class"]), int(facts.get("num_target", 1)), 1)
    features = int(facts["num_feature"])
    scores = np.array(json.loads(f"[{facts['base_score'].strip('[]')}]"), np.float64)
    base = np.broadcast_to(_margins_of(scores, objective), outputs)
    boosted = learner["gradient_booster"]
    if boosted["name"] == "gblinear":
        weights = np.array(boosted["model"]["weights"], np.float32).reshape(features + 1, outputs)
        return XgboostModel(objective, outputs, base, features, weights=weights)
    dropped = boosted.get("weight_drop")
    model = boosted.get("gbtree", boosted)["model"]
    count = len(model["trees"])
    if rounds is not None:
        count = model["iteration_indptr"][rounds]
    scales = np.ones(count) if dropped is None else np.array(dropped, np.float32)
    categorical: set[int] = set()
    trees = [
        _tree(each, float(scale), categorical)
        for each, scale in zip(model["trees"][:count], scales, strict=False)
    ]
    places = {feature: features + at for at, feature in enumerate(sorted(categorical))}
    return XgboostModel(
        objective=objective,
        outputs=outputs,
        base=base,
        features=features,
        trees=tuple(_placed(each, places) for each in trees),
        targets=tuple(model["tree_info"][:count]),
        categorical=tuple(sorted(categorical)),
    )


def add_margins(parts: GraphParts, rows: str, model: XgboostModel, missing: float = np.nan) -> str:
    """Return the margins, float32 of shape (rows, outputs).

    ``rows``: float64 values already rounded to float32.  ``missing``: the value that XGBoost treats
    as NaN.
    """
    if not np.isnan(missing):
        marker = parts.constant(np.float32(missing), np.float64)
        is_missing = parts.add("Equal", rows, marker)
        rows = parts.add("Where", is_missing, parts.constant(np.nan, np.float64), rows)
    if model.weights is not None:
        total = _linear(parts, rows, model.weights)
    else:
        if model.categorical:
            whole = parts.add("Floor", parts.columns(rows, model.categorical))
            rows = parts.add("Concat", rows, whole, axis=1)
        if model.trees and model.trees[0].outputs > 1:
            total = add_vector_sum(parts, rows, model.trees)
        else:
            total = add_sum(parts, rows, model.trees, model.targets, model.outputs)
    return parts.cast(parts.add("Add", total, parts.constant(model.base, np.float64)), np.float32)


def add_predictions(parts: GraphParts, margins: str, objective: str) -> str:
    """Return the predictions that the booster's predict computes from margins.

    Their shape is (rows, outputs), but (rows, 1) if the objective predicts a class (multi:softmax).
    """
    if objective in _IDENTITY:
        return margins
    if objective in _LOGISTIC:
        return parts.add("Sigmoid", margins)
    if objective in _EXPONENTIAL:
        return parts.add("Exp", margins)
    if objective == "multi:softprob":
        return parts.add("Softmax", margins, axis=1)
    if objective == "multi:softmax":
        return parts.cast(parts.add("ArgMax", margins, axis=1, keepdims=1), np.float32)
    if objective == "binary:hinge":
        positive = parts.add("Greater", margins, parts.constant(0.0, np.float32))
        return parts.cast(positive, np.float32)
    raise NotExportableError(
        f"XGBoost's objective {objective!r} has no ONNX form here; train with another"
    )


def _margins_of(scores: np.ndarray, objective: str) -> np.ndarray:
    """Return the base score as a margin; XGBoost stores it as a prediction of the objective."""
    if objective in _LOGISTIC:
        return -np.log(1.0 / scores - 1.0)
    if objective in _EXPONENTIAL:
        return np.log(scores)
    return scores


def _linear(parts: GraphParts, rows: str, weights: np.ndarray) -> str:
    """Return the linear model's margins; a missing value adds nothing."""
    zero = parts.constant(0.0, np.float64)
    known = parts.add("Where", parts.add("IsNaN", rows), zero, rows)
    product = parts.add("MatMul", known, parts.constant(weights[:-1], np.float64))
    return parts.add("Add", product, parts.constant(weights[-1], np.float64))


def _tree(fields: Mapping[str, Any], scale: float, categorical: set[int]) -> Tree:
    """Return one tree; ``scale`` is dart's factor for its leaves."""
    left = np.array(fields["left_children"], np.int64)
    right = np.array(fields["right_children"], np.int64)
    leaf = left < 0
    conditions = np.array(fields["split_conditions"], np.float32)
    width = int(fields["tree_param"]["size_leaf_vector"])
    if width > 1:
        # A leaf stores the index of its vector in place of its right child.
        vectors = np.array(fields["leaf_weights"], np.float32).reshape(-1, width)
        value = np.zeros((len(left), width))
        value[leaf] = vectors[right[leaf]]
    else:
        value = np.where(leaf, conditions, 0.0)[:, None]
    feature = np.array(fields["split_indices"], np.int64)
    is_category = (np.array(fields["split_type"], np.int64) == 1) & ~leaf
    categorical |= set(feature[is_category].tolist())
    default_left = np.array(fields["default_left"], bool)
    return Tree(
        # Until `_placed` runs, feature f read as a category is stored as -1 - f.
        feature=np.where(leaf, 0, np.where(is_category, -1 - feature, feature)),
        threshold=np.where(leaf | is_category, 0.0, conditions).astype(np.float64),
        mode=np.where(is_category, MEMBER, LT),
        # A split's categories go right, so the true branch is the right one.
        true_child=np.where(leaf, -1, np.where(is_category, right, left)),
        false_child=np.where(leaf, -1, np.where(is_category, left, right)),
        missing_true=default_left != is_category,
        value=value * scale,
        members=_category_sets(fields),
    )


def _category_sets(fields: Mapping[str, Any]) -> dict[int, list[int]]:
    """Return node -> the categories that go right."""
    return {
        node: fields["categories"][start : start + size]
        for node, start, size in zip(
            fields["categories_nodes"],
            fields["categories_segments"],
            fields["categories_sizes"],
            strict=True,
        )
    }


def _placed(tree: Tree, places: Mapping[int, int]) -> Tree:
    feature = [places[-1 - each] if each < 0 else each for each in tree.feature.tolist()]
    return Tree(**{**vars(tree), "feature": np.array(feature, np.int64)})
