"""LightGBM's trees and objectives as graph parts, from the text in which a booster saves itself.

LightGBM compares float64 with float64.  Its peculiarities: numbers within 1e-35 of zero are zero,
zero itself can be a missing value, NaN is zero for a feature without NaN in training, and a
category is a whole number whose fraction is cut off.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from mlflow_onnx_flavor.errors import NotExportableError
from mlflow_onnx_flavor.frameworks.lightgbm.linear import add_linear_sum, with_linear_leaves
from mlflow_onnx_flavor.onnx_graph.builder import GraphParts
from mlflow_onnx_flavor.onnx_graph.tree_ensemble import LEQ, MEMBER, Tree, add_sum

# LightGBM's kZeroThreshold: the float nearest to 1e-35.
_ZERO = float(np.float32(1e-35))
# The bits of a node's decision type.
_CATEGORICAL, _DEFAULT_LEFT = 1, 2
_MISSING_IS_ZERO, _MISSING_IS_NAN = 1, 2

_IDENTITY = (
    "regression",
    "regression_l1",
    "huber",
    "fair",
    "quantile",
    "mape",
    "lambdarank",
    "rank_xendcg",
    "custom",
)
_EXPONENTIAL = ("poisson", "gamma", "tweedie")


@dataclass(frozen=True)
class LightGbmModel:
    """A booster up to its best iteration.

    ``outputs``: the number of trees per iteration.  ``linear``: the leaves hold linear models (see
    the `linear` module here).
    """

    trees: tuple[Tree, ...]
    outputs: int
    features: int
    objective: str
    options: Mapping[str, str]
    divisor: int  # the number of iterations of a random forest, whose answer is the mean; else 1
    categorical: tuple[int, ...]
    zero_is_missing: tuple[int, ...]
    linear: bool

    @property
    def linear_shape(self) -> tuple[int, int]:
        """The shape of a leaf's vector: (outputs, 1 + 2 * features)."""
        return self.outputs, 1 + 2 * self.features


def parsed(booster: Any) -> LightGbmModel:
    """Return the model of a `lightgbm.Booster`, with the iterations that its predict uses."""
    text = booster.model_to_string()
    head, *sections = text.split("\nTree=")
    facts = _facts(head)
    outputs = int(facts["num_tree_per_iteration"])
    objective, *options = facts.get("objective", "custom").split()
    trees: list[_Parsed] = []
    categorical: set[int] = set()
    zeros: set[int] = set()
    written = [_facts(section.split("\n\n")[0]) for section in sections]
    for fields in written:
        trees.append(_tree(fields, categorical, zeros))
    features = int(facts["max_feature_idx"]) + 1
    places = {
        **{(feature, "category"): features + at for at, feature in enumerate(sorted(categorical))},
        **{
            (feature, "zero"): features + len(categorical) + at
            for at, feature in enumerate(sorted(zeros))
        },
    }
    placed = [each.placed(places) for each in trees]
    linear = any(int(fields.get("is_linear", 0)) for fields in written)
    if linear:
        shape = (outputs, 1 + 2 * features)
        placed = [
            with_linear_leaves(tree, fields, number % outputs, shape)
            for number, (tree, fields) in enumerate(zip(placed, written, strict=True))
        ]
    return LightGbmModel(
        trees=tuple(placed),
        outputs=outputs,
        features=features,
        objective=objective,
        options=dict(each.partition(":")[::2] for each in options),
        # A separate line without a value marks a model whose answer is the mean of its trees.
        divisor=len(trees) // outputs if "average_output" in head.splitlines() else 1,
        categorical=tuple(sorted(categorical)),
        zero_is_missing=tuple(sorted(zeros)),
        linear=linear,
    )


def add_raw(parts: GraphParts, rows: str, model: LightGbmModel) -> str:
    """Return the raw scores, float64 of shape (rows, outputs).

    ``rows``: float64.
    """
    read = _derived(parts, rows, model)
    if model.linear:
        total = add_linear_sum(parts, read, rows, model.trees, model.linear_shape)
    else:
        targets = [number % model.outputs for number in range(len(model.trees))]
        total = add_sum(parts, read, model.trees, targets, model.outputs)
    if model.divisor == 1:
        return total
    return parts.add("Div", total, parts.constant(model.divisor, np.float64))


def add_predictions(parts: GraphParts, raw: str, model: LightGbmModel) -> str:
    """Return the predictions that the booster's predict computes from raw scores.

    Their shape is that of the raw scores.
    """
    name = model.objective
    if name in _IDENTITY:
        if "sqrt" not in model.options:
            return raw
        return parts.add("Mul", parts.add("Sign", raw), parts.add("Mul", raw, raw))
    if name in _EXPONENTIAL:
        return parts.add("Exp", raw)
    if name == "multiclass":
        return parts.add("Softmax", raw, axis=1)
    if name in ("binary", "multiclassova", "cross_entropy"):
        steepness = parts.constant(float(model.options.get("sigmoid", 1)), np.float64)
        return parts.add("Sigmoid", parts.add("Mul", raw, steepness))
    if name == "cross_entropy_lambda":
        one = parts.constant(1.0, np.float64)
        return parts.add("Log", parts.add("Add", one, parts.add("Exp", raw)))
    raise NotExportableError(
        f"LightGBM's objective {name!r} has no ONNX form here; train with another, or log a model"
        " whose answer is the raw score"
    )


def _derived(parts: GraphParts, rows: str, model: LightGbmModel) -> str:
    """Return the rows, followed by extra columns for features that trees read in another way."""
    columns = [rows]
    if model.categorical:
        # The fraction is cut off, so values between -1 and 1 are category 0.
        chosen = parts.columns(rows, model.categorical)
        whole = parts.add("Floor", parts.add("Abs", chosen))
        columns.append(parts.add("Mul", parts.add("Sign", chosen), whole))
    if model.zero_is_missing:
        chosen = parts.columns(rows, model.zero_is_missing)
        is_zero = parts.add(
            "LessOrEqual", parts.add("Abs", chosen), parts.constant(_ZERO, np.float64)
        )
        columns.append(parts.add("Where", is_zero, parts.constant(np.nan, np.float64), chosen))
    return rows if len(columns) == 1 else parts.add("Concat", *columns, axis=1)


@dataclass(frozen=True)
class _Parsed:
    """A tree whose features are still pairs: (feature, how it is read)."""

    tree: Tree
    ways: np.ndarray

    def placed(self, places: Mapping[tuple[int, str], int]) -> Tree:
        """Return the tree with each pair replaced by its column in ``places``."""
        feature = [
            places.get((int(each), way), int(each))
            for each, way in zip(self.tree.feature, self.ways, strict=True)
        ]
        return Tree(**{**vars(self.tree), "feature": np.array(feature, np.int64)})


def _tree(fields: Mapping[str, str], categorical: set[int], zeros: set[int]) -> _Parsed:
    """Return one tree; its leaves follow its inner nodes.

    LightGBM numbers inner nodes from 0 up and leaves from -1 down.
    """
    leaves = _numbers(fields, "leaf_value", np.float64)
    feature = _numbers(fields, "split_feature", np.int64)
    inner = len(feature)
    threshold = _numbers(fields, "threshold", np.float64)
    decision = _numbers(fields, "decision_type", np.int64)
    is_category = (decision & _CATEGORICAL) > 0
    missing = decision >> 2
    is_zero = ~is_category & (missing == _MISSING_IS_ZERO)
    categorical |= set(feature[is_category].tolist())
    zeros |= set(feature[is_zero].tolist())
    default_left = (decision & _DEFAULT_LEFT) > 0
    # NaN is zero for a feature without NaN in training; a missing category goes right.
    missing_true = np.where(missing == 0, threshold >= 0, default_left) & ~is_category
    sets = _category_sets(fields)
    padding = np.zeros(len(leaves))
    return _Parsed(
        Tree(
            feature=np.r_[feature, padding].astype(np.int64),
            threshold=np.r_[np.where(is_category, 0.0, _around_zero(threshold)), padding],
            mode=np.r_[np.where(is_category, MEMBER, LEQ), padding].astype(np.int64),
            true_child=_children(fields, "left_child", inner, len(leaves)),
            false_child=_children(fields, "right_child", inner, len(leaves)),
            missing_true=np.r_[missing_true, padding].astype(bool),
            value=np.r_[np.zeros(inner), leaves][:, None],
            members={int(node): sets[int(threshold[node])] for node in np.flatnonzero(is_category)},
        ),
        np.r_[np.select([is_category, is_zero], ["category", "zero"], ""), [""] * len(leaves)],
    )


def _around_zero(threshold: np.ndarray) -> np.ndarray:
    """Return the thresholds for rows whose tiny numbers LightGBM would have set to zero."""
    below = np.nextafter(-_ZERO, -np.inf)
    tiny = np.where(threshold < 0, below, _ZERO)
    return np.where(np.abs(threshold) <= _ZERO, tiny, threshold)


def _category_sets(fields: Mapping[str, str]) -> list[Sequence[int]]:
    """Return the categories that go left, for each categorical split."""
    if "cat_boundaries" not in fields:
        return []
    bounds = _numbers(fields, "cat_boundaries", np.int64)
    words = _numbers(fields, "cat_threshold", np.int64)
    bits = (words[:, None] >> np.arange(32) & 1).astype(bool).ravel()  # category: word * 32 + bit
    return [
        np.flatnonzero(bits[start * 32 : end * 32]).tolist()
        for start, end in zip(bounds[:-1], bounds[1:], strict=True)
    ]


def _children(fields: Mapping[str, str], name: str, inner: int, leaves: int) -> np.ndarray:
    found = _numbers(fields, name, np.int64)
    return np.r_[np.where(found < 0, inner - found - 1, found), np.full(leaves, -1)]


def _numbers(fields: Mapping[str, str], name: str, dtype: Any) -> np.ndarray:
    return np.array(fields.get(name, "").split(), dtype)


def _facts(text: str) -> dict[str, str]:
    """Return the ``name=value`` lines as a dictionary."""
    return dict(line.split("=", 1) for line in text.splitlines() if "=" in line)
