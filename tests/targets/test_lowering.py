"""Operators of ai.onnx.ml and the ordinary ones that stand for them give the same answers."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import TensorProto

from mlflow_onnx_flavor.errors import UnsupportedModelError
from mlflow_onnx_flavor.onnx_graph.lowering import lower, ml_operators
from tests.targets.ml_graphs import answers, ml_model, random_trees

FLOAT, DOUBLE, INT64, STRING = (
    TensorProto.FLOAT,
    TensorProto.DOUBLE,
    TensorProto.INT64,
    TensorProto.STRING,
)
TRANSFORMS = ("NONE", "LOGISTIC", "SOFTMAX", "SOFTMAX_ZERO", "PROBIT")
ALL_MODES = ("BRANCH_LEQ", "BRANCH_LT", "BRANCH_GTE", "BRANCH_GT", "BRANCH_EQ", "BRANCH_NEQ")
# Of what exp, log and erf make: one or two roundings of float32.
TRANSCENDENTAL = 5e-7
# Probit is the root of a difference that vanishes at 0: there the root of one rounding remains.
CANCELLING = 2e-3


def rows(dtype, features=5, count=200, missing=True):
    rng = np.random.default_rng(7)
    values = rng.normal(size=(count, features))
    if np.dtype(dtype).kind == "i":
        return (values * 3).astype(dtype)
    if missing:
        values[rng.random(values.shape) < 0.1] = np.nan
    return values.astype(dtype)


def check(model, data, exact=True, rounding=TRANSCENDENTAL):
    """Both models on ``data``; labels of text are looked up before they are compared."""
    expected = answers(model, x=data)
    lowered = lower(model)
    assert not ml_operators(lowered.model)
    got = answers(lowered.model, x=data)
    assert got.keys() == expected.keys()
    for name, value in expected.items():
        found = got[name]
        if isinstance(value, list):  # ZipMap's maps
            value = np.array([[row[key] for key in sorted(row)] for row in value], np.float32)
        if name in lowered.labels:
            found = np.array(lowered.labels[name], object)[found]
        assert found.dtype == value.dtype and found.shape == value.shape, name
        if exact or value.dtype.kind != "f":
            np.testing.assert_array_equal(found, value, err_msg=name)
        else:
            np.testing.assert_allclose(found, value, rtol=rounding, atol=rounding, err_msg=name)
    return lowered


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("modes", [("BRANCH_LEQ",), ("BRANCH_LT",), ALL_MODES])
def test_a_regressor_of_trees_is_the_same_to_the_bit(dtype, modes):
    rng = np.random.default_rng(1)
    trees = random_trees(rng, 12, 5, 5, 2, "target", modes)
    model = ml_model(
        "TreeEnsembleRegressor",
        dtype,
        [None, 5],
        [("y", FLOAT)],
        n_targets=2,
        base_values=[0.25, -1.5],
        **trees,
    )
    assert check(model, rows(dtype)).replaced == {"TreeEnsembleRegressor": 1}


@pytest.mark.parametrize("aggregate", ["SUM", "AVERAGE", "MIN", "MAX"])
def test_trees_are_aggregated_as_asked(aggregate):
    trees = random_trees(np.random.default_rng(2), 7, 4, 5, 1, "target")
    model = ml_model(
        "TreeEnsembleRegressor",
        np.float32,
        [None, 5],
        [("y", FLOAT)],
        n_targets=1,
        aggregate_function=aggregate,
        **trees,
    )
    check(model, rows(np.float32))


@pytest.mark.parametrize("transform", TRANSFORMS)
@pytest.mark.parametrize("scored", [(0,), (1,), (0, 1), (0, 1, 2)])
@pytest.mark.parametrize("positive", [False, True])
def test_a_classifier_of_trees_is_the_same(transform, scored, positive):
    rng = np.random.default_rng(3)
    classes = 3 if len(scored) == 3 else 2
    trees = random_trees(rng, 9, 4, 5, classes, "class", classes=scored)
    if positive:
        trees["class_weights"] = [abs(each) / 9 for each in trees["class_weights"]]
    model = ml_model(
        "TreeEnsembleClassifier",
        np.float32,
        [None, 5],
        [("label", INT64), ("scores", FLOAT)],
        classlabels_int64s=[10, 20, 30][:classes],
        post_transform=transform,
        **trees,
    )
    if transform == "PROBIT":
        if classes == 2 and len(scored) == 1 and scored[0] == 0:
            with pytest.raises(UnsupportedModelError, match="PROBIT"):
                lower(model)
            return
        check(model, rows(np.float32), exact=False, rounding=CANCELLING)
        return
    check(model, rows(np.float32), exact=transform == "NONE")


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("targets", [3, 20])
def test_ensembles_of_the_newer_operator_are_the_same(dtype, targets):
    from mlflow_onnx_flavor.onnx_graph import tree_ensemble
    from mlflow_onnx_flavor.onnx_graph.builder import GraphParts, as_model

    rng = np.random.default_rng(5)
    graph = GraphParts()
    trees = [_tree(rng, 6, 5) for _ in range(20)]
    wide = graph.cast("x", np.float64)
    total = tree_ensemble.add_sum(
        graph, wide, trees, [each % targets for each in range(20)], targets
    )
    graph.cast(total, dtype, output="y")
    model = as_model(graph, {"x": (dtype, [None, 5])}, {"y": (dtype, [None, targets])})
    assert ml_operators(model) == ["TreeEnsemble"]
    # Whole numbers: ONNX Runtime cuts off fractions where it tests for membership.
    check(model, np.round(2 * rows(dtype)))


def _tree(rng, depth, features):
    """A full tree of every comparison; its last level are leaves."""
    from mlflow_onnx_flavor.onnx_graph.tree_ensemble import EQ, GT, GTE, LEQ, LT, MEMBER, Tree

    nodes, inner = 2 ** (depth + 1) - 1, 2**depth - 1
    numbers = np.arange(nodes)
    mode = rng.choice([LEQ, LT, GTE, GT, EQ, MEMBER], nodes)
    return Tree(
        feature=rng.integers(features, size=nodes),
        threshold=rng.normal(size=nodes),
        mode=mode,
        true_child=np.where(numbers < inner, 2 * numbers + 1, -1),
        false_child=np.where(numbers < inner, 2 * numbers + 2, -1),
        missing_true=rng.random(nodes) < 0.3,
        value=rng.normal(size=(nodes, 1)),
        members={node: [1.0, 4.0, 5.0] for node in range(nodes) if mode[node] == MEMBER},
    )


LABELS = {
    "numbers": {"classlabels_ints": [3, 1, 2]},
    "texts": {"classlabels_strings": ["c", "a", "b"]},
}


@pytest.mark.parametrize("transform", TRANSFORMS)
@pytest.mark.parametrize("classes", [1, 2, 3])
@pytest.mark.parametrize("labels", LABELS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int64])
def test_a_linear_classifier_is_the_same(transform, classes, labels, dtype):
    rng = np.random.default_rng(11)
    ((name, known),) = LABELS[labels].items()
    model = ml_model(
        "LinearClassifier",
        dtype,
        [None, 5],
        [("label", STRING if labels == "texts" else INT64), ("scores", FLOAT)],
        coefficients=rng.normal(size=5 * classes).astype(np.float32).tolist(),
        intercepts=rng.normal(size=classes).astype(np.float32).tolist(),
        post_transform=transform,
        **{name: known[: max(classes, 2)]},
    )
    if transform == "PROBIT" and classes == 1:
        with pytest.raises(UnsupportedModelError, match="LinearClassifier.*PROBIT"):
            lower(model)
        return
    rounding = CANCELLING if transform == "PROBIT" else TRANSCENDENTAL
    lowered = check(model, rows(dtype, missing=False), transform == "NONE", rounding)
    if labels == "texts":
        assert lowered.labels == {"label": known[: max(classes, 2)]}


@pytest.mark.parametrize("targets", [1, 3])
@pytest.mark.parametrize("transform", TRANSFORMS)
def test_a_linear_regressor_is_the_same(targets, transform):
    rng = np.random.default_rng(12)
    model = ml_model(
        "LinearRegressor",
        np.float32,
        [None, 5],
        [("y", FLOAT)],
        coefficients=rng.normal(size=5 * targets).astype(np.float32).tolist(),
        intercepts=rng.normal(size=targets).astype(np.float32).tolist(),
        targets=targets,
        post_transform=transform,
    )
    rounding = CANCELLING if transform == "PROBIT" else TRANSCENDENTAL
    check(model, rows(np.float32, missing=False), transform == "NONE", rounding)


KERNELS = {"LINEAR": 1, "POLY": 3, "RBF": 1, "SIGMOID": 1}


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("one_class", [0, 1])
def test_a_support_vector_regressor_is_the_same(kernel, one_class):
    rng = np.random.default_rng(13)
    model = ml_model(
        "SVMRegressor",
        np.float32,
        [None, 5],
        [("y", FLOAT)],
        kernel_type=kernel,
        kernel_params=[0.3, 0.5, float(KERNELS[kernel])],
        n_supports=12,
        support_vectors=rng.normal(size=60).astype(np.float32).tolist(),
        coefficients=rng.normal(size=12).astype(np.float32).tolist(),
        rho=[0.25],
        one_class=one_class,
    )
    exact = kernel in ("LINEAR", "POLY")
    check(model, rows(np.float32, missing=False), exact, rounding=2e-6)


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("classes", [2, 3, 4])
@pytest.mark.parametrize("transform", ["NONE", "LOGISTIC"])
def test_a_support_vector_classifier_is_the_same(kernel, classes, transform):
    rng = np.random.default_rng(14)
    per_class = [3, 2, 4, 5][:classes]
    supports = sum(per_class)
    model = ml_model(
        "SVMClassifier",
        np.float32,
        [None, 5],
        [("label", INT64), ("scores", FLOAT)],
        kernel_type=kernel,
        kernel_params=[0.3, 0.5, float(KERNELS[kernel])],
        vectors_per_class=per_class,
        support_vectors=rng.normal(size=5 * supports).astype(np.float32).tolist(),
        coefficients=rng.normal(size=(classes - 1) * supports).astype(np.float32).tolist(),
        rho=rng.normal(size=classes * (classes - 1) // 2).astype(np.float32).tolist(),
        classlabels_ints=[5, 6, 7, 8][:classes],
        post_transform=transform,
    )
    check(model, rows(np.float32, missing=False), False, rounding=2e-6)


def test_a_classifier_that_iterates_for_probabilities_is_refused_by_name():
    model = ml_model(
        "SVMClassifier",
        np.float32,
        [None, 2],
        [("label", INT64), ("scores", FLOAT)],
        kernel_type="LINEAR",
        kernel_params=[0.3, 0.5, 1.0],
        vectors_per_class=[1, 1],
        support_vectors=[1.0, 0.0, 0.0, 1.0],
        coefficients=[1.0, -1.0],
        rho=[0.0],
        prob_a=[-1.0],
        prob_b=[0.0],
        classlabels_ints=[0, 1],
    )
    with pytest.raises(UnsupportedModelError, match="SVMClassifier.*iterating"):
        lower(model)


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int64])
def test_a_scaler_is_the_same_to_the_bit(dtype):
    model = ml_model(
        "Scaler",
        dtype,
        [None, 5],
        [("y", FLOAT)],
        offset=[0.1, 0.2, 0.3, 0.4, 0.5],
        scale=[3.0, 0.3, 1e-3, 7.0, 1.0],
    )
    check(model, rows(dtype))


@pytest.mark.parametrize("norm", ["MAX", "L1", "L2"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int64])
def test_a_normalizer_is_the_same(norm, dtype):
    data = rows(dtype, missing=False)
    data[3] = 0
    check(ml_model("Normalizer", dtype, [None, 5], [("y", FLOAT)], norm=norm), data, norm == "MAX")


@pytest.mark.parametrize("missing", [np.nan, 0.0])
@pytest.mark.parametrize("values", [[9.0], [1.0, 2.0, 3.0, 4.0, 5.0]])
def test_an_imputer_is_the_same_to_the_bit(missing, values):
    model = ml_model(
        "Imputer",
        np.float32,
        [None, 5],
        [("y", FLOAT)],
        imputed_value_floats=values,
        replaced_value_float=missing,
    )
    data = rows(np.float32)
    data[5] = 0
    check(model, data)


ENCODINGS = {
    "int to int": (np.int64, INT64, {"keys_int64s": [-1, 0, 2], "values_int64s": [7, 8, 9]}),
    "int to float": (np.int64, FLOAT, {"keys_int64s": [-1, 0], "values_floats": [0.5, 1.5]}),
    "int to text": (
        np.int64,
        STRING,
        {"keys_int64s": [-1, 0, 1], "values_strings": ["a", "b", "a"], "default_string": "?"},
    ),
    "float with nan": (
        np.float32,
        INT64,
        {"keys_floats": [float("nan"), 1.0], "values_int64s": [4, 5], "default_int64": 6},
    ),
}


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_an_encoder_of_numbers_is_the_same(encoding):
    dtype, kind, attributes = ENCODINGS[encoding]
    model = ml_model("LabelEncoder", dtype, [None, 5], [("y", kind)], **attributes)
    check(model, np.round(rows(dtype)))


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int64])
def test_one_hot_columns_of_numbers_are_the_same(dtype):
    model = ml_model(
        "OneHotEncoder", dtype, [None, 5], [("y", FLOAT)], cats_int64s=[0, 2, -1], zeros=1
    )
    check(model, rows(dtype, missing=False))


def test_picked_columns_are_the_same():
    model = ml_model(
        "ArrayFeatureExtractor",
        np.float32,
        [None, 5],
        [("y", FLOAT)],
        [("at", np.array([3, 0, 3]))],
        ["at"],
    )
    check(model, rows(np.float32))


def test_maps_become_the_matrix_that_they_are_made_of():
    model = ml_model(
        "ZipMap", np.float32, [None, 3], [("y", "map")], classlabels_int64s=[30, 10, 20]
    )
    check(model, rows(np.float32, features=3, missing=False))


def test_text_that_is_no_label_is_refused_by_the_name_of_its_input():
    import onnx
    from onnx import helper

    model = ml_model(
        "LabelEncoder", np.int64, [None, 1], [("y", INT64)], keys_strings=["a"], values_int64s=[1]
    )
    model.graph.input[0].type.tensor_type.elem_type = STRING
    with pytest.raises(UnsupportedModelError, match="LabelEncoder.*text 'x'"):
        lower(model)
    plain = helper.make_model(
        helper.make_graph(
            [helper.make_node("Identity", ["t"], ["y"])],
            "text",
            [helper.make_tensor_value_info("t", STRING, [None])],
            [helper.make_tensor_value_info("y", STRING, [None])],
        )
    )
    assert isinstance(plain, onnx.ModelProto)
    with pytest.raises(UnsupportedModelError, match="the input 't' is text"):
        lower(plain)


def test_an_operator_without_a_rule_is_refused_by_name():
    model = ml_model("CastMap", np.float32, [None, 3], [("y", FLOAT)])
    with pytest.raises(UnsupportedModelError, match="CastMap"):
        lower(model)
