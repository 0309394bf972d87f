"""Tree ensembles: every row walks down every tree by table look-ups.

Nakandala et al., "A Tensor Compiler for Unified Machine Learning Prediction Serving" (OSDI 2020),
call it tree traversal: a row's current node is an integer, and one step looks up feature, threshold
and children for all rows and trees at once.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from mlflow_onnx_flavor.onnx_graph.lowering.base import Lowered, MlNode
from mlflow_onnx_flavor.onnx_graph.lowering.scores import transformed, two_classes

# TreeEnsemble's numbers for the comparisons that the older operators name.
_MODES = ("BRANCH_LEQ", "BRANCH_LT", "BRANCH_GTE", "BRANCH_GT", "BRANCH_EQ", "BRANCH_NEQ")
_NOT_EQUAL, _MEMBER = 5, 6
_AGGREGATES = ("AVERAGE", "SUM", "MIN", "MAX")
_TRANSFORMS = ("NONE", "SOFTMAX", "LOGISTIC", "SOFTMAX_ZERO", "PROBIT")


@dataclass
class _Forest:
    """All trees as arrays over their nodes: a row goes to ``true`` where ``low <= x <= high``.

    Every comparison is such an interval, in the dtype that it is made in.  Leaves lead to
    themselves.  ``values``: shape (nodes, targets), those of leaves.
    """

    feature: np.ndarray
    low: np.ndarray
    high: np.ndarray
    true: np.ndarray
    false: np.ndarray
    missing_true: np.ndarray
    roots: np.ndarray
    values: dict[int, dict[int, Any]]


def _interval(mode: int, threshold: Any, dtype: np.dtype) -> tuple[Any, Any, bool]:
    """Return the lowest and highest value that go to the true child, and a flag.

    The flag says whether the children are swapped.
    """
    infinity = np.array(np.inf, dtype)
    threshold = np.array(threshold, dtype)
    below, above = np.nextafter(threshold, -infinity), np.nextafter(threshold, infinity)
    return (
        (-infinity, threshold, False),
        (-infinity, below, False),
        (threshold, infinity, False),
        (above, infinity, False),
        (threshold, threshold, False),
        (threshold, threshold, True),
    )[mode]


class _Builder:
    """A list of nodes that grows one by one; `finish` turns it into arrays."""

    def __init__(self, dtype: np.dtype):
        self.dtype = dtype
        self.rows: list[list[Any]] = []
        self.values: dict[int, dict[int, Any]] = {}

    def leaf(self) -> int:
        number = len(self.rows)
        infinity = np.array(np.inf, self.dtype)
        self.rows.append([0, -infinity, infinity, number, number, 0])
        return number

    def inner(self, feature: int, low: Any, high: Any, missing_true: int) -> int:
        self.rows.append([feature, low, high, -1, -1, missing_true])
        return len(self.rows) - 1

    def link(self, number: int, true: int, false: int) -> None:
        self.rows[number][3:5] = [true, false]

    def finish(self, roots: list[int]) -> _Forest:
        feature, low, high, true, false, missing = zip(*self.rows, strict=True)
        as_int = [np.array(each, np.int64) for each in (feature, true, false, missing)]
        limits = [np.array(each, self.dtype) for each in (low, high)]
        return _Forest(
            as_int[0],
            limits[0],
            limits[1],
            as_int[1],
            as_int[2],
            as_int[3],
            np.array(roots),
            self.values,
        )


def _old_forest(node: MlNode, prefix: str, dtype: np.dtype) -> _Forest:
    """Read TreeEnsembleClassifier or TreeEnsembleRegressor; ``prefix``: that of their leaves."""
    trees, ids = node.get("nodes_treeids"), node.get("nodes_nodeids")
    values = node.numbers("nodes_values")
    missing = node.get("nodes_missing_value_tracks_true") or [0] * len(ids)
    builder, numbers = _Builder(dtype), {}
    for position, key in enumerate(zip(trees, ids, strict=True)):
        mode = node.get("nodes_modes")[position]
        if mode == "LEAF":
            numbers[key] = builder.leaf()
            continue
        low, high, swapped = _interval(_MODES.index(mode), values[position], dtype)
        feature = node.get("nodes_featureids")[position]
        numbers[key] = builder.inner(feature, low, high, missing[position] and not swapped)
    children = [node.get("nodes_truenodeids"), node.get("nodes_falsenodeids")]
    for position, (tree, number) in enumerate(zip(trees, ids, strict=True)):
        mode = node.get("nodes_modes")[position]
        if mode != "LEAF":
            true, false = (numbers[tree, each[position]] for each in children)
            if mode == "BRANCH_NEQ":
                true, false = false, true
            builder.link(numbers[tree, number], true, false)
    weights = node.numbers(f"{prefix}_weights").astype(dtype)
    leaves = (node.get(f"{prefix}_{each}") for each in ("treeids", "nodeids", "ids"))
    for tree, number, target, weight in zip(*leaves, weights, strict=True):
        of_leaf = builder.values.setdefault(numbers[tree, number], {})
        of_leaf[target] = of_leaf.get(target, dtype.type(0)) + weight
    first: dict[int, int] = {}
    for key, number in numbers.items():
        first.setdefault(key[0], number)
    return builder.finish(list(first.values()))


def _new_forest(node: MlNode, dtype: np.dtype) -> _Forest:
    """Read TreeEnsemble."""
    splits, modes = node.numbers("nodes_splits"), node.numbers("nodes_modes")
    missing = node.get("nodes_missing_value_tracks_true") or [0] * len(splits)
    members = iter(_sets(node.get("membership_values"), int((modes == _MEMBER).sum())))
    builder = _Builder(dtype)
    entries, lasts = [], []  # a membership test becomes a chain of equality tests
    for position, mode in enumerate(modes.tolist()):
        feature = node.get("nodes_featureids")[position]
        if mode != _MEMBER:
            low, high, swapped = _interval(mode, splits[position], dtype)
            entries.append([builder.inner(feature, low, high, missing[position] and not swapped)])
        else:
            values = [dtype.type(each) for each in next(members)]
            entries.append([builder.inner(feature, each, each, 0) for each in values])
            if missing[position]:
                builder.rows[entries[-1][0]][5] = 1
        lasts.append(mode == _NOT_EQUAL)
    weights = node.numbers("leaf_weights").astype(dtype)
    targets = node.get("leaf_targetids")

    leaf_of: dict[int, int] = {}

    def child(number: int, is_leaf: int) -> int:
        if not is_leaf:
            return entries[number][0]
        if number not in leaf_of:
            leaf_of[number] = builder.leaf()
            builder.values[leaf_of[number]] = {targets[number]: weights[number]}
        return leaf_of[number]

    of_children = [
        node.get(f"nodes_{each}")
        for each in ("truenodeids", "trueleafs", "falsenodeids", "falseleafs")
    ]
    for chain, swapped, *ends in zip(entries, lasts, *of_children, strict=True):
        true, false = child(*ends[:2]), child(*ends[2:])
        if swapped:
            true, false = false, true
        for number, following in zip(chain, [*chain[1:], None], strict=True):
            builder.link(number, true, false if following is None else following)
    return builder.finish([entries[each][0] for each in node.get("tree_roots")])


def _sets(values: Any, count: int) -> list[list[float]]:
    """Return the members of each set; NaN ends one."""
    if not count:
        return []
    values = np.asarray(values)
    ends = np.flatnonzero(np.isnan(values))
    parts = np.split(values, ends + 1)[:count]
    return [part[~np.isnan(part)].tolist() for part in parts]


def _depth(forest: _Forest) -> int:
    """Return the length of the longest path from a root to a leaf."""
    at, depth = np.unique(forest.roots), 0
    while len(at := at[forest.true[at] != at]):
        at = np.unique(np.concatenate([forest.true[at], forest.false[at]]))
        depth += 1
    return depth


def _leaves(graph: Lowered, rows: str, forest: _Forest) -> str:
    """Return the number of the leaf of each row in each tree, int64 of shape (rows, trees)."""
    trees, one_root = len(forest.roots), graph.constant(forest.roots.reshape(1, -1), np.int64)
    shape = graph.add("Concat", graph.rows_of(rows), graph.constant([trees], np.int64), axis=0)
    at = graph.add("Expand", one_root, shape)
    lookups = {
        name: graph.constant(getattr(forest, name))
        for name in ("feature", "low", "high", "true", "false")
    }
    bounded = bool(np.isfinite(forest.low).any())
    missing = bool(forest.missing_true.any())
    if missing:
        tracks = graph.constant(forest.missing_true.astype(bool))
    for _ in range(_depth(forest)):

        def here(name: str, at: str = at) -> str:
            return graph.add("Gather", lookups[name], at, axis=0)

        value = graph.add("GatherElements", rows, here("feature"), axis=1)
        goes = graph.add("LessOrEqual", value, here("high"))
        if bounded:
            goes = graph.add("And", goes, graph.add("GreaterOrEqual", value, here("low")))
        if missing:
            absent = graph.add(
                "And", graph.add("IsNaN", value), graph.add("Gather", tracks, at, axis=0)
            )
            goes = graph.add("Or", goes, absent)
        at = graph.add("Where", goes, here("true"), here("false"))
    return at


def _sum_over_trees(
    graph: Lowered, rows: str, forest: _Forest, targets: int, aggregate: str, dtype: np.dtype
) -> list[str]:
    """Return for each target the aggregate of the trees, shape (rows, 1), in the trees' order."""
    leaves = _leaves(graph, rows, forest)
    of_tree, trees = _targets_of_trees(forest), len(forest.roots)
    columns: list[list[str]] = [[] for _ in range(targets)]
    if all(len(each) == 1 for each in of_tree):
        values = graph.add("Gather", graph.constant(_table(forest, None, dtype)), leaves, axis=0)
        for tree, (target,) in enumerate(of_tree):
            columns[target].append(values if trees == 1 else graph.column(values, tree))
    else:
        at_leaves = graph.splits(leaves, trees)
        tables: dict[int, str] = {}
        for tree, leaf in enumerate(at_leaves):
            for target in of_tree[tree]:
                if target not in tables:
                    tables[target] = graph.constant(_table(forest, target, dtype))
                columns[target].append(graph.add("Gather", tables[target], leaf, axis=0))
    zero = graph.cast(
        graph.add("Mul", graph.column(leaves, 0), graph.constant([0], np.int64)), dtype
    )
    return [_aggregated(graph, each, aggregate, trees, dtype) or zero for each in columns]


def _table(forest: _Forest, target: int | None, dtype: np.dtype) -> np.ndarray:
    """Return the value of each node for ``target``; for its only target if None."""
    table = np.zeros(len(forest.true), dtype)
    for number, values in forest.values.items():
        table[number] = next(iter(values.values())) if target is None else values.get(target, 0)
    return table


def _targets_of_trees(forest: _Forest) -> list[list[int]]:
    """Return the targets that each tree adds to, in order."""
    found = []
    for root in forest.roots.tolist():
        targets: set[Any] = set()
        seen, stack = set(), [root]
        while stack:
            number = stack.pop()
            if number in seen:
                continue
            seen.add(number)
            targets |= forest.values.get(number, {}).keys()
            if forest.true[number] != number:
                stack += [int(forest.true[number]), int(forest.false[number])]
        found.append(sorted(targets))
    return found


def _aggregated(graph: Lowered, values: list[str], how: str, trees: int, dtype: np.dtype) -> str:
    if not values:
        return ""
    if how in ("MIN", "MAX"):
        return values[0] if len(values) == 1 else graph.add(how.title(), *values)
    total = graph.total(*values)
    return graph.add("Div", total, graph.constant(trees, dtype)) if how == "AVERAGE" else total


def _prepared(graph: Lowered, node: MlNode) -> tuple[str, np.dtype]:
    """Return the rows in the dtype of the comparisons: float64 if the thresholds are float64."""
    dtype = np.dtype(np.float64) if node.dtype == np.float64 else np.dtype(np.float32)
    rows = node.inputs[0]
    return (rows if node.dtype == dtype else graph.cast(rows, dtype)), dtype


def _with_base(graph: Lowered, columns: list[str], base: np.ndarray, dtype: np.dtype) -> list[str]:
    if not len(base):
        return columns
    return [
        graph.add("Add", each, graph.constant(value, dtype))
        for each, value in zip(columns, base, strict=True)
    ]


def _one_tree_each(forest: _Forest, targets: int) -> bool:
    """Return whether each target is the answer of one tree, in order, so that no sum is needed."""
    return _targets_of_trees(forest) == [[each] for each in range(targets)]


def regressor(node: MlNode, graph: Lowered) -> None:
    """Rewrite TreeEnsembleRegressor."""
    rows, dtype = _prepared(graph, node)
    forest = _old_forest(node, "target", dtype)
    targets = node.get("n_targets", 1)
    columns = _sum_over_trees(
        graph, rows, forest, targets, node.get("aggregate_function", "SUM"), dtype
    )
    columns = _with_base(graph, columns, node.numbers("base_values"), dtype)
    scores = transformed(graph, columns, node.get("post_transform", "NONE"), dtype)
    graph.output(node.outputs[0], graph.cast(scores, np.float32), np.float32)


def ensemble(node: MlNode, graph: Lowered) -> None:
    """Rewrite TreeEnsemble; refuse comparisons in half precision."""
    rows, dtype = node.inputs[0], node.dtype
    if dtype == np.float16:
        raise node.refuse("compares in half precision")
    forest = _new_forest(node, dtype)
    if _one_tree_each(forest, node.get("n_targets", 1)) and not node.get("post_transform", 0):
        leaves = _leaves(graph, rows, forest)
        table = graph.constant(_table(forest, None, dtype))
        graph.output(node.outputs[0], graph.add("Gather", table, leaves, axis=0), dtype)
        return
    columns = _sum_over_trees(
        graph,
        rows,
        forest,
        node.get("n_targets", 1),
        _AGGREGATES[node.get("aggregate_function", 1)],
        dtype,
    )
    transform = _TRANSFORMS[node.get("post_transform", 0)]
    graph.output(node.outputs[0], transformed(graph, columns, transform, dtype), dtype)


def classifier(node: MlNode, graph: Lowered) -> None:
    """Rewrite TreeEnsembleClassifier."""
    rows, dtype = _prepared(graph, node)
    forest = _old_forest(node, "class", dtype)
    classes = node.get("classlabels_strings") or node.get("classlabels_int64s")
    scored = sorted({target for values in forest.values.values() for target in values})
    columns = _sum_over_trees(graph, rows, forest, max(len(classes), 2), "SUM", dtype)
    base = node.numbers("base_values")
    transform = node.get("post_transform", "NONE")
    if len(classes) <= 2:
        if len(scored) > 1 and not isinstance(classes[0], str):
            classes = [0, 1]  # ONNX Runtime's answers in this case, whatever the labels are
        all_positive = bool((node.numbers("class_weights") >= 0).all())
        if 1 in scored:
            positive = columns[1]
            if len(base) == 2:
                positive = graph.add("Add", columns[0], graph.constant(base[1], dtype))
                columns = [graph.add("Neg", positive), positive]
            elif len(base) == 1:
                columns = _with_base(graph, columns[:1], base, dtype) + columns[1:]
        else:
            columns = _with_base(graph, columns[:1], base[:1], dtype)
            positive = columns[0]
        two_classes(
            graph,
            node,
            positive,
            columns,
            classes,
            is_binary=len(scored) == 1,
            threshold=0.5 if all_positive and len(scored) == 1 else 0.0,
            transform=transform,
            dtype=dtype,
        )
        return
    columns = _with_base(graph, columns, base, dtype)
    matrix = graph.side_by_side(*columns)
    best = graph.add("ArgMax", matrix, axis=1, keepdims=0)
    graph.label_output(node.outputs[0], best, classes)
    scores = transformed(graph, columns, transform, dtype)
    graph.output(node.outputs[1], graph.cast(scores, np.float32), np.float32)


RULES = {
    "TreeEnsemble": ensemble,
    "TreeEnsembleClassifier": classifier,
    "TreeEnsembleRegressor": regressor,
}
