"""CatBoost's trees as graph parts, from the JSON of a model.

CatBoost rounds rows to float32 and compares ``value > border``; NaN is beyond every border or below
all, as each feature says.  Its own ONNX export knows neither NaN modes nor non-symmetric trees.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mlflow_onnx_flavor.frameworks.graph_parts import GraphParts
from mlflow_onnx_flavor.frameworks.not_exportable import NotExportableError
from mlflow_onnx_flavor.frameworks.tree_ensemble import GT, Tree, add_vector_sum

# How the JSON names what a feature's missing values do, and whether they then exceed a border.
_MISSING_EXCEEDS = {"AsIs": False, "AsFalse": False, "AsTrue": True}


@dataclass(frozen=True)
class CatBoostModel:
    """``bias``: one number for each of the ``outputs``; ``loss``: CatBoost's name of it."""

    trees: tuple[Tree, ...]
    scale: float
    bias: np.ndarray
    loss: str
    class_threshold: float  # a probability

    @property
    def outputs(self) -> int:
        return len(self.bias)


def parsed(model: Any) -> CatBoostModel:
    """The model of a CatBoost estimator.  Raises NotExportableError for features of other kinds."""
    _require_numbers(model)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.json"
        model.save_model(str(path), format="json")
        found = json.loads(path.read_text(encoding="utf-8"))
    info = found["model_info"]
    columns, exceeds = _features(found["features_info"]["float_features"])
    scale, bias = found["scale_and_bias"]
    bias = np.atleast_1d(np.array(bias, np.float64))
    trees = [_oblivious(each, columns, exceeds) for each in found.get("oblivious_trees", ())]
    trees += [_grown(each, columns, exceeds) for each in found.get("trees", ())]
    return CatBoostModel(
        trees=tuple(trees),
        scale=float(scale),
        bias=bias,
        loss=info.get("params", {}).get("loss_function", {}).get("type", ""),
        class_threshold=float(info.get("binclass_probability_threshold", 0.5)),
    )


def add_raw(parts: GraphParts, rows: str, model: CatBoostModel) -> str:
    """The raw values, float64 of shape (rows, outputs).

    ``rows``: float64 that were rounded to float32.
    """
    total = add_vector_sum(parts, rows, model.trees)
    if model.scale != 1:
        total = parts.add("Mul", total, parts.constant(model.scale, np.float64))
    return parts.add("Add", total, parts.constant(model.bias, np.float64))


def _require_numbers(model: Any) -> None:
    """Refuse features of other kinds, which a model with texts does not even write as JSON."""
    ordinal = "OrdinalEncoder or TargetEncoder"
    for kind, positions, encoder in (
        ("categorical", model.get_cat_feature_indices(), ordinal),
        ("text", model.get_text_feature_indices(), "TfidfVectorizer"),
        ("embedding", model.get_embedding_feature_indices(), "one column for each number"),
    ):
        columns = [str(model.feature_names_[at]) for at in positions]
        if columns:
            raise NotExportableError(
                f"the {kind} features {', '.join(columns)} are hashed and counted by CatBoost,"
                f" which is not converted; encode them before CatBoost ({encoder} in a"
                " scikit-learn pipeline) and train again"
            )


def _features(features: list[Mapping[str, Any]]) -> tuple[np.ndarray, np.ndarray]:
    """Of each float feature its column among all, and whether NaN exceeds its borders."""
    columns = np.array([each["flat_feature_index"] for each in features], np.int64)
    exceeds = np.array([_MISSING_EXCEEDS[each["nan_value_treatment"]] for each in features], bool)
    return columns, exceeds


def _oblivious(fields: Mapping[str, Any], columns: np.ndarray, exceeds: np.ndarray) -> Tree:
    """Every node of a level has the same split; the first split is a leaf's lowest bit.

    Nodes are numbered as in a heap, so leaf number ``n``, read from the root down, is the node
    ``inner + n`` and its value stands at ``n`` with its bits reversed.
    """
    splits = fields.get("splits") or []
    depth = len(splits)
    inner, leaves = 2**depth - 1, 2**depth
    level = np.repeat(np.arange(depth), 2 ** np.arange(depth))
    features = np.array([each["float_feature_index"] for each in splits], np.int64)[level]
    borders = np.array([each["border"] for each in splits], np.float32)[level]
    nodes = np.arange(inner)
    order = np.zeros(leaves, np.int64)
    for bit in range(depth):
        order |= (np.arange(leaves) >> (depth - 1 - bit) & 1) << bit
    values = np.array(fields["leaf_values"], np.float64).reshape(leaves, -1)[order]
    none, nothing = np.full(leaves, -1), np.zeros(leaves)
    return Tree(
        feature=np.r_[columns[features], nothing].astype(np.int64),
        threshold=np.r_[borders, nothing].astype(np.float64),
        mode=np.full(inner + leaves, GT),
        true_child=np.r_[2 * nodes + 2, none],
        false_child=np.r_[2 * nodes + 1, none],
        missing_true=np.r_[exceeds[features], nothing].astype(bool),
        value=np.r_[np.zeros((inner, values.shape[1])), values],
    )


def _grown(root: Mapping[str, Any], columns: np.ndarray, exceeds: np.ndarray) -> Tree:
    """A tree of any shape, given as nested nodes."""
    nodes = [root]
    children: list[tuple[int, int]] = []
    for node in nodes:  # grows as it is read
        if "split" in node:
            children.append((len(nodes), len(nodes) + 1))
            nodes += [node["left"], node["right"]]
        else:
            children.append((-1, -1))
    splits = [node.get("split", {}) for node in nodes]
    features = np.array([each.get("float_feature_index", 0) for each in splits], np.int64)
    leaf = np.array([not each for each in splits])
    sample = next(node["value"] for node in nodes if "value" in node)
    nothing = np.zeros(np.size(sample))
    left, right = np.array(children).T
    borders = np.array([each.get("border", 0) for each in splits], np.float32)
    return Tree(
        feature=np.where(leaf, 0, columns[features]),
        threshold=borders.astype(np.float64),
        mode=np.full(len(nodes), GT),
        true_child=right,
        false_child=left,
        missing_true=exceeds[features],
        value=np.array([np.ravel(node.get("value", nothing)) for node in nodes], np.float64),
    )
