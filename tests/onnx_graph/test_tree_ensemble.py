"""Trees described as arrays route every row in ONNX Runtime as numpy routes it."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlflow_onnx_flavor.onnx_graph import tree_ensemble
from mlflow_onnx_flavor.onnx_graph.builder import GraphParts, as_model
from mlflow_onnx_flavor.onnx_graph.tree_ensemble import (
    EQ,
    GT,
    GTE,
    LEQ,
    LT,
    MEMBER,
    Tree,
    add_sum,
    add_vector_sum,
)

COMPARED = {
    LEQ: np.less_equal,
    LT: np.less,
    GTE: np.greater_equal,
    GT: np.greater,
    EQ: np.equal,
}
THRESHOLDS = [0.0, 0.1, -2.5, 1.7e9 + 0.3, 1e12 + 1 / 3, 1e300, -1e-310]


def leaf_of(tree: Tree, row: np.ndarray) -> int:
    node = 0
    while tree.true_child[node] >= 0:
        number = row[tree.feature[node]]
        if np.isnan(number):
            holds = tree.missing_true[node]
        elif tree.mode[node] == MEMBER:
            holds = number in tree.members[node]
        else:
            holds = COMPARED[int(tree.mode[node])](number, tree.threshold[node])
        node = int(tree.true_child[node] if holds else tree.false_child[node])
    return node


def around(thresholds) -> np.ndarray:
    """Each threshold, one ulp to either side, and what is not a number."""
    found = np.array(thresholds)
    beside = [np.nextafter(found, -np.inf), found, np.nextafter(found, np.inf)]
    return np.concatenate([*beside, [np.nan, np.inf, -np.inf, 0.0, -0.0, 5e-324]])


def stump(mode: int, threshold: float, missing_true: bool, members=()) -> Tree:
    return Tree(
        feature=np.array([0, 0, 0]),
        threshold=np.array([threshold, 0.0, 0.0]),
        mode=np.array([mode, 0, 0]),
        true_child=np.array([1, -1, -1]),
        false_child=np.array([2, -1, -1]),
        missing_true=np.array([missing_true, False, False]),
        value=np.array([[0.0], [1.0], [2.0]]),
        members={0: members},
    )


def grown(generator: np.random.Generator, depth: int, outputs: int) -> Tree:
    """A full tree of random splits on three columns, the third of whole numbers."""
    size = 2 ** (depth + 1) - 1
    nodes = np.arange(size)
    inner = nodes < size // 2
    feature = generator.integers(0, 3, size)
    mode = np.where(feature == 2, MEMBER, generator.integers(0, 4, size))
    return Tree(
        feature=feature,
        threshold=generator.choice(THRESHOLDS, size),
        mode=mode,
        true_child=np.where(inner, 2 * nodes + 1, -1),
        false_child=np.where(inner, 2 * nodes + 2, -1),
        missing_true=generator.random(size) < 0.5,
        value=generator.normal(size=(size, outputs)),
        members={
            int(node): generator.choice(100, generator.integers(0, 60), replace=False).tolist()
            for node in nodes[mode == MEMBER]
        },
    )


def answered(add, rows: np.ndarray, n_targets: int) -> np.ndarray:
    graph = GraphParts()
    graph.add("Identity", add(graph, "rows"), output="sum")
    model = as_model(
        graph,
        {"rows": (np.float64, [None, rows.shape[1]])},
        {"sum": (np.float64, [None, n_targets])},
    )
    onnx.checker.check_model(model, full_check=True)
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    return session.run(None, {"rows": rows})[0]


@pytest.mark.parametrize("missing_true", [False, True])
@pytest.mark.parametrize("mode", COMPARED)
def test_every_comparison_holds_at_the_threshold_and_one_ulp_around_it(mode, missing_true):
    rows = around(THRESHOLDS)[:, None]
    for threshold in THRESHOLDS:
        tree = stump(mode, threshold, missing_true)
        answer = answered(
            lambda graph, rows, tree=tree: add_sum(graph, rows, [tree], [0], 1), rows, 1
        )
        expected = [tree.value[leaf_of(tree, row)] for row in rows]
        np.testing.assert_array_equal(answer, expected)


@pytest.mark.parametrize("missing_true", [False, True])
@pytest.mark.parametrize(
    "members",
    [
        [],
        [0],
        [3],
        [0, 2, 5],
        [1, 70],
        [31, 32, 33, 63, 64, 65],
        [5, 1000, 123456],
        range(0, 255, 3),
    ],
)
def test_membership_of_whole_numbers(members, missing_true):
    tree = stump(MEMBER, 0.0, missing_true, list(members))
    rows = np.array(
        [*range(-3, 260), 999, 1000, 123456, 2**32 + 3, 1e19, np.nan, np.inf, -np.inf, -0.0]
    )
    answer = answered(lambda graph, rows: add_sum(graph, rows, [tree], [0], 1), rows[:, None], 1)
    np.testing.assert_array_equal(answer, [tree.value[leaf_of(tree, row)] for row in rows[:, None]])


@pytest.mark.parametrize("outputs", [1, 3])
def test_trees_of_many_splits_and_one_leaf_add_up(outputs, monkeypatch):
    monkeypatch.setattr(tree_ensemble, "_LOOKED_UP_AT_ONCE", 9)  # three groups
    generator = np.random.default_rng(0)
    trees = [grown(generator, depth, outputs) for depth in (0, 1, 2, 5, 6, 3, 0)]
    rows = generator.choice(around(THRESHOLDS), (400, 3))
    rows[:, 2] = generator.choice([*range(100), np.nan], 400)
    expected = sum(np.array([tree.value[leaf_of(tree, row)] for row in rows]) for tree in trees)
    answer = answered(lambda graph, rows: add_vector_sum(graph, rows, trees), rows, outputs)
    np.testing.assert_allclose(answer, expected, rtol=1e-13, atol=1e-13)


def test_each_tree_adds_to_its_own_column():
    generator = np.random.default_rng(1)
    trees = [grown(generator, 3, 1) for _ in range(6)]
    targets = [0, 1, 3, 0, 1, 3]
    rows = np.c_[generator.normal(size=(50, 2)), generator.integers(0, 100, 50)]
    expected = np.zeros((50, 4))
    for tree, target in zip(trees, targets, strict=True):
        expected[:, target] += [tree.value[leaf_of(tree, row), 0] for row in rows]
    answer = answered(lambda graph, rows: add_sum(graph, rows, trees, targets, 4), rows, 4)
    np.testing.assert_allclose(answer, expected, rtol=1e-13, atol=1e-13)


@settings(max_examples=30, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    depths=st.lists(st.integers(0, 5), min_size=1, max_size=6),
    outputs=st.integers(1, 4),
    rows=st.integers(1, 70),
)
def test_any_trees_on_any_rows(seed, depths, outputs, rows):
    generator = np.random.default_rng(seed)
    trees = [grown(generator, depth, outputs) for depth in depths]
    values = generator.choice(around(THRESHOLDS), (rows, 3))
    values[:, 2] = generator.choice([*range(-2, 102), np.nan, 1e6], rows)
    expected = sum(np.array([tree.value[leaf_of(tree, row)] for row in values]) for tree in trees)
    answer = answered(lambda graph, rows: add_vector_sum(graph, rows, trees), values, outputs)
    np.testing.assert_allclose(answer, expected, rtol=1e-13, atol=1e-13)


def test_no_tree_at_all_is_zero():
    answer = answered(lambda graph, rows: add_sum(graph, rows, [], [], 2), np.ones((3, 1)), 2)
    np.testing.assert_array_equal(answer, np.zeros((3, 2)))
