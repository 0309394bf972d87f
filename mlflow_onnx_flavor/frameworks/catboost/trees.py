"""CatBoost's trees as graph parts, from the JSON of a model.

CatBoost rounds rows to float32 and compares ``value > border``; each feature says that NaN is above
every border or below all of them.  Categories are compared by their codes; their statistics (CTRs)
are further columns behind the others.  CatBoost's own ONNX export supports neither NaN modes nor
categories nor non-symmetric trees.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mlflow_onnx_flavor.errors import NotExportableError
from mlflow_onnx_flavor.onnx_graph.builder import GraphParts
from mlflow_onnx_flavor.onnx_graph.tree_ensemble import EQ, GT, Tree, add_vector_sum

if TYPE_CHECKING:
    from mlflow_onnx_flavor.frameworks.catboost.categories import Categories

# The JSON's name for the treatment of missing values -> True if they exceed every border.
_MISSING_EXCEEDS = {"AsIs": False, "AsFalse": False, "AsTrue": True}


@dataclass(frozen=True)
class CatBoostModel:
    """The trees of a model and what is added to them.

    ``bias``: one number for each of the ``outputs``; ``loss``: CatBoost's name of the loss.
    """

    trees: tuple[Tree, ...]
    scale: float
    bias: np.ndarray
    loss: str
    class_threshold: float  # a probability

    @property
    def outputs(self) -> int:
        """The number of raw values per row."""
        return len(self.bias)


def written(model: Any) -> dict[str, Any]:
    """Return the JSON of a CatBoost estimator.

    Raises NotExportableError for text and embedding features, which the JSON does not hold.
    """
    _require_plain(model)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.json"
        model.save_model(str(path), format="json")
        return json.loads(path.read_text(encoding="utf-8"))


def parsed(found: Mapping[str, Any], categories: Categories | None = None) -> CatBoostModel:
    """Return the model described by its JSON; ``categories`` are required if it has any."""
    info = found["model_info"]
    splits = _Splits(found, categories)
    scale, bias = found["scale_and_bias"]
    bias = np.atleast_1d(np.array(bias, np.float64))
    trees = [_oblivious(each, splits) for each in found.get("oblivious_trees", ())]
    trees += [_grown(each, splits) for each in found.get("trees", ())]
    return CatBoostModel(
        trees=tuple(trees),
        scale=float(scale),
        bias=bias,
        loss=info.get("params", {}).get("loss_function", {}).get("type", ""),
        class_threshold=float(info.get("binclass_probability_threshold", 0.5)),
    )


def add_raw(parts: GraphParts, rows: str, model: CatBoostModel) -> str:
    """Return the raw values, float64 of shape (rows, outputs).

    ``rows``: float64 values already rounded to float32.
    """
    total = add_vector_sum(parts, rows, model.trees)
    if model.scale != 1:
        total = parts.add("Mul", total, parts.constant(model.scale, np.float64))
    return parts.add("Add", total, parts.constant(model.bias, np.float64))


def _require_plain(model: Any) -> None:
    for kind, positions, encoder in (
        ("text", model.get_text_feature_indices(), "TfidfVectorizer"),
        ("embedding", model.get_embedding_feature_indices(), "one column for each number"),
    ):
        columns = [str(model.feature_names_[at]) for at in positions]
        if columns:
            raise NotExportableError(
                f"the {kind} features {', '.join(columns)} are computed with inside CatBoost,"
                f" which is not converted; encode them before CatBoost ({encoder} in a"
                " scikit-learn pipeline) and train again"
            )


class _Splits:
    """The comparison of each split: column, threshold and mode."""

    def __init__(self, found: Mapping[str, Any], categories: Categories | None):
        info = found["features_info"]
        numbers = info.get("float_features", [])
        self._columns = [each["flat_feature_index"] for each in numbers]
        self._exceeds = [_MISSING_EXCEEDS[each["nan_value_treatment"]] for each in numbers]
        self._categories = categories
        # A split gives its CTR by number alone: the borders of float features are counted first,
        # then the compared categories, then the CTRs' borders.
        kinds = info.get("categorical_features", [])
        before = sum(len(each["borders"]) for each in numbers)
        before += sum(len(each.get("values", ())) for each in kinds)
        behind = categories.width if categories else 0
        self._of_ctrs = {
            before + at: (behind + ctr, border)
            for at, (ctr, border) in enumerate(
                (ctr, border)
                for ctr, each in enumerate(info.get("ctrs", ()))
                for border in each["borders"]
            )
        }

    def read(self, splits: Sequence[Mapping[str, Any]]) -> tuple[np.ndarray, ...]:
        """Return each split's column, threshold and mode, and if NaN takes the true branch."""
        read = [self._read(each) for each in splits]
        columns, thresholds, modes, exceeds = zip(*read, strict=True) if read else ((),) * 4
        return (
            np.array(columns, np.int64),
            np.array(thresholds, np.float64),
            np.array(modes, np.int64),
            np.array(exceeds, bool),
        )

    def _read(self, split: Mapping[str, Any]) -> tuple[int, float, int, bool]:
        kind = split["split_type"]
        if kind == "FloatFeature":
            feature = split["float_feature_index"]
            border = float(np.float32(split["border"]))
            return self._columns[feature], border, GT, self._exceeds[feature]
        if kind == "OneHotFeature" and self._categories:
            feature = split["cat_feature_index"]
            code = self._categories.codes[feature][split["value"]]
            return self._categories.columns[feature], code, EQ, False
        if kind == "OnlineCtr" and self._categories:
            column, border = self._of_ctrs.get(split["split_index"], (-1, None))
            if border == split["border"]:
                return column, float(np.float32(border)), GT, False
        raise NotExportableError(
            f"the model splits by {kind} (number {split['split_index']}) in a way of which no"
            " conversion is known"
        )


def _oblivious(fields: Mapping[str, Any], known: _Splits) -> Tree:
    """Return a symmetric tree, in which all nodes of a level share a split.

    The first split gives the lowest bit of a leaf's number.  Nodes are numbered as in a heap, so
    leaf number ``n``, read from the root down, is the node ``inner + n`` and its value stands at
    ``n`` with its bits reversed.
    """
    splits = fields.get("splits") or []
    depth = len(splits)
    inner, leaves = 2**depth - 1, 2**depth
    level = np.repeat(np.arange(depth), 2 ** np.arange(depth))
    columns, thresholds, modes, exceeds = (each[level] for each in known.read(splits))
    nodes = np.arange(inner)
    order = np.zeros(leaves, np.int64)
    for bit in range(depth):
        order |= (np.arange(leaves) >> (depth - 1 - bit) & 1) << bit
    values = np.array(fields["leaf_values"], np.float64).reshape(leaves, -1)[order]
    none, nothing = np.full(leaves, -1), np.zeros(leaves)
    return Tree(
        feature=np.r_[columns, nothing].astype(np.int64),
        threshold=np.r_[thresholds, nothing],
        mode=np.r_[modes, np.full(leaves, GT)],
        true_child=np.r_[2 * nodes + 2, none],
        false_child=np.r_[2 * nodes + 1, none],
        missing_true=np.r_[exceeds, nothing].astype(bool),
        value=np.r_[np.zeros((inner, values.shape[1])), values],
    )


def _grown(root: Mapping[str, Any], known: _Splits) -> Tree:
    """Return a tree of any shape, given as nested nodes."""
    nodes = [root]
    children: list[tuple[int, int]] = []
    for node in nodes:  # grows as it is read
        if "split" in node:
            children.append((len(nodes), len(nodes) + 1))
            nodes += [node["left"], node["right"]]
        else:
            children.append((-1, -1))
    inner = [at for at, node in enumerate(nodes) if "split" in node]
    columns, thresholds, modes, exceeds = known.read([nodes[at]["split"] for at in inner])
    sample = next(node["value"] for node in nodes if "value" in node)
    nothing = np.zeros(np.size(sample))
    left, right = np.array(children).T
    return Tree(
        feature=_placed(columns, inner, np.zeros(len(nodes), np.int64)),
        threshold=_placed(thresholds, inner, np.zeros(len(nodes))),
        mode=_placed(modes, inner, np.full(len(nodes), GT)),
        true_child=right,
        false_child=left,
        missing_true=_placed(exceeds, inner, np.zeros(len(nodes), bool)),
        value=np.array([np.ravel(node.get("value", nothing)) for node in nodes], np.float64),
    )


def _placed(values: np.ndarray, places: Sequence[int], into: np.ndarray) -> np.ndarray:
    into[places] = values
    return into
