"""Transformers, with the options that change their arithmetic, on rows that they did not see."""

from __future__ import annotations

import warnings

import numpy as np
import onnxruntime
import pytest
import skl2onnx
from skl2onnx.common.data_types import DoubleTensorType, FloatTensorType
from sklearn import (
    cluster,
    cross_decomposition,
    decomposition,
    feature_selection,
    impute,
    kernel_approximation,
    manifold,
    neighbors,
    preprocessing,
    random_projection,
)
from sklearn.datasets import load_iris
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.ensemble import StackingClassifier, StackingRegressor, VotingClassifier
from sklearn.experimental import enable_iterative_imputer  # noqa: F401
from sklearn.linear_model import LinearRegression, LogisticRegression, RidgeClassifier
from sklearn.neural_network import BernoulliRBM
from sklearn.pipeline import FeatureUnion, Pipeline
from sklearn.svm import LinearSVC
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

from mlflow_onnx_flavor.errors import NotExportableError
from mlflow_onnx_flavor.frameworks import conversion_warnings
from mlflow_onnx_flavor.frameworks.sklearn import converters
from mlflow_onnx_flavor.frameworks.sklearn.framework import target_opset


@pytest.fixture(scope="module")
def iris() -> tuple[np.ndarray, np.ndarray]:
    rows, classes = load_iris(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(rows))
    return rows[order], classes[order]


def beyond(rows: np.ndarray) -> np.ndarray:
    """The rows, rows between them, and rows far outside of what was seen."""
    generator = np.random.default_rng(1)
    near = rows + generator.normal(size=rows.shape) * 0.05
    return np.vstack([rows, np.abs(near), rows[:20] * 3, rows[:5] * 0])


def without_ties(rows: np.ndarray) -> np.ndarray:
    """Rows of which no two are equally far from a third: which is nearer would be chance."""
    return rows + np.random.default_rng(2).normal(size=rows.shape) * 1e-2


def with_gaps(rows: np.ndarray) -> np.ndarray:
    gaps = rows.copy()
    gaps[::7, 1] = np.nan
    gaps[3::11, 2] = np.nan
    return gaps


def session_of(model, width: int, dtype=np.float64):
    converters.register_all()
    kind = DoubleTensorType if dtype == np.float64 else FloatTensorType
    pipeline = Pipeline([("transform", model), ("as it is", "passthrough")])
    exported = skl2onnx.to_onnx(
        pipeline, initial_types=[("rows", kind([None, width]))], target_opset=target_opset()
    )
    return onnxruntime.InferenceSession(
        exported.SerializeToString(), providers=["CPUExecutionProvider"]
    )


def same(model, fitted_on, target, asked, dtype=np.float64, tolerance=1e-9):
    """The graph's transform is the model's, for all rows at once and for each of some alone."""
    fitted_on, asked = fitted_on.astype(dtype), asked.astype(dtype)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model.fit(fitted_on, target)
        expected = model.transform(asked)
        # SparsePCA gives one axis for one row.
        alone = [model.transform(asked[at : at + 1]).reshape(1, -1) for at in range(3)]
    session = session_of(model, asked.shape[1], dtype)
    (found,) = session.run(None, {"rows": asked})
    close(found, expected, tolerance)
    for at, each in enumerate(alone):
        close(session.run(None, {"rows": asked[at : at + 1]})[0], each, tolerance)


def close(found, expected, tolerance):
    expected = expected.toarray() if hasattr(expected, "toarray") else np.asarray(expected)
    expected = expected.reshape(len(expected), -1).astype(np.float64)
    assert found.shape == expected.shape
    scale = max(1.0, float(np.nanmax(np.abs(expected), initial=0.0)))
    np.testing.assert_allclose(found, expected, rtol=0, atol=tolerance * scale, equal_nan=True)


SCALERS = [
    preprocessing.StandardScaler(with_mean=False),
    preprocessing.StandardScaler(with_std=False),
    preprocessing.MinMaxScaler((-1, 2), clip=True),
    preprocessing.MaxAbsScaler(),
    preprocessing.RobustScaler(unit_variance=True),
    preprocessing.RobustScaler(with_centering=False),
    preprocessing.Normalizer("l1"),
    preprocessing.Normalizer("max"),
    preprocessing.Binarizer(threshold=1.4),
    preprocessing.PowerTransformer(),
    preprocessing.PowerTransformer(standardize=False),
    preprocessing.PolynomialFeatures(3),
    preprocessing.PolynomialFeatures((2, 3), interaction_only=True, include_bias=False),
    kernel_approximation.AdditiveChi2Sampler(sample_steps=3),
]
BINS = [
    preprocessing.QuantileTransformer(n_quantiles=150),
    preprocessing.QuantileTransformer(n_quantiles=20, output_distribution="normal"),
    preprocessing.KBinsDiscretizer(4, encode="onehot-dense", quantile_method="linear"),
    preprocessing.KBinsDiscretizer(7, encode="ordinal", strategy="uniform"),
    preprocessing.KBinsDiscretizer(3, encode="onehot", strategy="kmeans"),
    preprocessing.SplineTransformer(),
    preprocessing.SplineTransformer(degree=0, n_knots=4, extrapolation="continue"),
    preprocessing.SplineTransformer(degree=1, extrapolation="constant"),
    preprocessing.SplineTransformer(degree=2, knots="quantile", extrapolation="continue"),
    preprocessing.SplineTransformer(extrapolation="linear", include_bias=False),
    preprocessing.SplineTransformer(extrapolation="periodic", sparse_output=True),
]
LINEAR = [
    decomposition.PCA(2, whiten=True),
    decomposition.IncrementalPCA(2, whiten=True),
    decomposition.TruncatedSVD(2),
    decomposition.FactorAnalysis(2),
    decomposition.FastICA(3, whiten="arbitrary-variance", random_state=0),
    decomposition.FastICA(whiten=False, random_state=0),
    decomposition.SparsePCA(2, ridge_alpha=0.5, random_state=0),
    cross_decomposition.PLSRegression(2, scale=False),
    LinearDiscriminantAnalysis(solver="eigen"),
    LinearDiscriminantAnalysis(n_components=1),
    BernoulliRBM(3, random_state=0),
    neighbors.NeighborhoodComponentsAnalysis(2, random_state=0, max_iter=5),
    random_projection.SparseRandomProjection(3, random_state=0),
    kernel_approximation.RBFSampler(gamma=0.1, n_components=7, random_state=0),
    kernel_approximation.SkewedChi2Sampler(skewedness=0.5, n_components=6, random_state=0),
    kernel_approximation.PolynomialCountSketch(degree=3, coef0=2, n_components=9, random_state=0),
]
KERNELS = [
    decomposition.KernelPCA(2, kernel="rbf", gamma=0.3),
    decomposition.KernelPCA(2, kernel="poly", degree=2, coef0=0.5),
    decomposition.KernelPCA(2, kernel="sigmoid", gamma=0.01),
    decomposition.KernelPCA(2, kernel="cosine"),
    kernel_approximation.Nystroem("laplacian", n_components=8, random_state=0),
    kernel_approximation.Nystroem("chi2", n_components=8, random_state=0),
    kernel_approximation.Nystroem("polynomial", degree=2, n_components=8, random_state=0),
]
NEIGHBOURS = [
    cluster.KMeans(3, n_init=1, random_state=0),
    cluster.Birch(threshold=0.4, n_clusters=3),
    cluster.BisectingKMeans(3, random_state=0),
    neighbors.KNeighborsTransformer(n_neighbors=4, metric="manhattan"),
    neighbors.KNeighborsTransformer(mode="connectivity", metric="minkowski", p=3),
    neighbors.RadiusNeighborsTransformer(radius=0.7, metric="chebyshev"),
    neighbors.RadiusNeighborsTransformer(radius=0.7, mode="connectivity"),
    manifold.Isomap(n_neighbors=9),
    manifold.LocallyLinearEmbedding(n_neighbors=7, random_state=0),
]
CODES = [
    decomposition.DictionaryLearning(
        6, transform_n_nonzero_coefs=3, max_iter=3, random_state=0, split_sign=True
    ),
    decomposition.MiniBatchDictionaryLearning(
        3, transform_algorithm="threshold", transform_alpha=0.2, max_iter=3, random_state=0
    ),
    decomposition.SparseCoder(np.eye(4)[:3] + 0.2, transform_n_nonzero_coefs=2),
]
COLUMNS = [
    feature_selection.SelectKBest(k=2),
    feature_selection.SelectKBest(k=0),
    feature_selection.VarianceThreshold(0.6),
    feature_selection.RFE(LogisticRegression(max_iter=500), n_features_to_select=2),
    feature_selection.SequentialFeatureSelector(LinearRegression(), n_features_to_select=3),
    cluster.FeatureAgglomeration(2),
    cluster.FeatureAgglomeration(2, pooling_func=np.median),
    cluster.FeatureAgglomeration(3, pooling_func=np.max),
    FeatureUnion(
        [("pca", decomposition.PCA(1)), ("all", "passthrough"), ("none", "drop")],
        transformer_weights={"pca": 0.5},
    ),
    preprocessing.OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1),
    preprocessing.OneHotEncoder(handle_unknown="ignore"),
    preprocessing.TargetEncoder(target_type="multiclass", random_state=0),
]
EVERY = [*SCALERS, *BINS, *LINEAR, *KERNELS, *NEIGHBOURS, *CODES, *COLUMNS]


@pytest.mark.parametrize("model", EVERY, ids=lambda model: type(model).__name__)
def test_float64_rows(model, iris):
    rows, classes = iris
    rows = without_ties(rows) if model in NEIGHBOURS else rows
    tolerance = 1e-7 if isinstance(model, kernel_approximation.Nystroem) else 1e-9
    same(model, rows, classes, beyond(rows), tolerance=tolerance)


@pytest.mark.parametrize(
    "model", [*SCALERS, *LINEAR, *NEIGHBOURS[:6]], ids=lambda model: type(model).__name__
)
def test_float32_rows(model, iris):
    rows, classes = iris
    if isinstance(model, preprocessing.Binarizer):
        pytest.skip("compares exactly, so it has float64 inputs only")
    rows = without_ties(rows) if model in NEIGHBOURS else rows
    same(model, rows, classes, beyond(rows), np.float32, tolerance=1e-4)


@pytest.mark.parametrize("method", ["yeo-johnson", "box-cox"])
def test_powers_near_the_logarithm_keep_their_digits(method):
    rows = np.exp(np.random.default_rng(0).normal(size=(300, 2))) * [1, 1e4]
    model = preprocessing.PowerTransformer(method=method).fit(rows)
    model.lambdas_ = np.array([1e-10, 0.0])
    asked = np.vstack([rows, rows * 1e-9])
    (found,) = session_of(model, 2).run(None, {"rows": asked})
    close(found, model.transform(asked), 1e-12)


@pytest.mark.parametrize(
    "model",
    [
        preprocessing.StandardScaler(),
        preprocessing.MinMaxScaler(clip=True),
        preprocessing.PowerTransformer(),
        preprocessing.QuantileTransformer(n_quantiles=30, output_distribution="normal"),
        preprocessing.SplineTransformer(handle_missing="zeros"),
        preprocessing.OneHotEncoder(handle_unknown="ignore"),
        preprocessing.OrdinalEncoder(
            handle_unknown="use_encoded_value", unknown_value=np.nan, encoded_missing_value=-5
        ),
        impute.SimpleImputer(strategy="median", add_indicator=True),
        impute.SimpleImputer(strategy="constant", fill_value=-1.0),
        impute.SimpleImputer(strategy="most_frequent"),
        impute.KNNImputer(n_neighbors=3, add_indicator=True),
        impute.KNNImputer(weights="distance"),
        impute.IterativeImputer(random_state=0, add_indicator=True),
        impute.IterativeImputer(LinearRegression(), max_iter=3, min_value=0.5, random_state=0),
        impute.MissingIndicator(features="all"),
        impute.MissingIndicator(error_on_new=False),
    ],
    ids=lambda model: type(model).__name__,
)
def test_missing_values(model, iris):
    rows, classes = without_ties(iris[0]), iris[1]
    asked = with_gaps(beyond(rows))
    asked[5], asked[6] = np.nan, rows[6]
    same(model, with_gaps(rows), classes, asked)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_float64_graph_compares_rows_of_either_dtype_as_scikit_learn_does(dtype):
    rows = np.repeat(np.array([0.1, 0.7, 1.3, 2.9], dtype), 2).reshape(-1, 1)
    models = [preprocessing.Binarizer(threshold=each) for each in (0.1, 0.7, 1.3)]
    models += [impute.SimpleImputer(missing_values=each) for each in (0.1, 0.7)]
    models += [preprocessing.KBinsDiscretizer(4, encode="ordinal", dtype=np.float32)]
    for model in models:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about bins that are made one
            expected = model.fit(rows).transform(rows)
        (found,) = session_of(model, 1).run(None, {"rows": rows.astype(np.float64)})
        np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_values_that_scikit_learn_refuses_stay_missing(iris):
    rows = iris[0]
    for model in (preprocessing.Binarizer(), preprocessing.KBinsDiscretizer(3)):
        (found,) = session_of(model.fit(rows), 4).run(None, {"rows": np.full((1, 4), np.nan)})
        assert np.isnan(found).all()


def test_a_marker_for_missing_values(iris):
    rows, classes = without_ties(iris[0]), iris[1]
    marked = np.where(np.isnan(with_gaps(rows)), -999.0, rows)
    same(impute.SimpleImputer(missing_values=-999.0), marked, classes, marked)
    same(impute.KNNImputer(missing_values=-999.0), marked, classes, marked)


def test_imputing_neighbours_that_ties_leave_undecided_are_told_or_refused():
    """Which of equals numpy.argpartition puts first depends on the processor."""
    generator = np.random.default_rng(0)
    rows = with_gaps(generator.integers(0, 6, (300, 4)).astype(float))
    with pytest.raises(NotExportableError, match="depends on the processor .* IterativeImputer"):
        session_of(impute.KNNImputer().fit(rows), 4)
    spread = with_gaps(generator.normal(size=(300, 4)))
    spread[40], spread[41] = spread[0], spread[0]  # ties of rows that have the same values
    with conversion_warnings.collected() as told:
        same(impute.KNNImputer(), spread, None, with_gaps(generator.normal(size=(60, 4))))
    assert told == []
    spread[42:46] = spread[1]
    spread[42:46, 1] = range(4)  # and of some that have others
    with conversion_warnings.collected() as told:
        session_of(impute.KNNImputer(n_neighbors=1).fit(spread), 4)
    assert len(told) == 1 and "depends on the processor" in told[0]


def test_a_column_without_any_value_is_left_out(iris):
    rows, classes = without_ties(iris[0]), iris[1]
    empty = with_gaps(rows)
    empty[:, 3] = np.nan
    same(impute.SimpleImputer(), empty, classes, empty)
    same(impute.KNNImputer(), empty, classes, empty)
    same(impute.IterativeImputer(random_state=0), empty, classes, empty)


FUNCTIONS = [np.abs, np.ceil, np.cos, np.exp, np.exp2, np.expm1, np.floor, np.log, np.log10]
FUNCTIONS += [np.log1p, np.log2, np.negative, np.rint, np.sign, np.sin, np.sqrt, np.square, np.tanh]
FUNCTIONS += [np.trunc, None]


@pytest.mark.parametrize("function", FUNCTIONS, ids=lambda each: getattr(each, "__name__", "none"))
def test_functions_of_numpy(function):
    sizes = np.array([1e-12, 1e-3, 0.3, 0.5, 1.0, 2.5, 30.0])
    rows = np.concatenate([sizes, -sizes, [0.0, -1.0, np.inf, -np.inf, np.nan]]).reshape(-1, 1)
    model = preprocessing.FunctionTransformer(function).fit(rows)
    with np.errstate(all="ignore"):
        expected = model.transform(rows)
    (found,) = session_of(model, 1).run(None, {"rows": rows})
    np.testing.assert_allclose(found, expected, rtol=1e-14)


def centred(rows):
    return rows - np.mean(rows, axis=0)


def test_a_function_of_the_users_own_is_refused_by_its_name(iris):
    model = preprocessing.FunctionTransformer(centred).fit(iris[0])
    with pytest.raises(NotExportableError, match=r"test_transformers\.centred.*before"):
        session_of(model, 4)


@pytest.mark.parametrize(
    ("model", "cause"),
    [
        (decomposition.NMF(2, max_iter=500), "NMF solves for all rows of a batch at once"),
        (decomposition.LatentDirichletAllocation(2), "digamma"),
        (impute.IterativeImputer(sample_posterior=True), "draws random numbers"),
        (impute.IterativeImputer(DecisionTreeRegressor()), "with DecisionTreeRegressor"),
        (neighbors.KNeighborsTransformer(metric="canberra"), "metric 'canberra'"),
        (decomposition.KernelPCA(kernel=lambda a, b: a @ b), "kernel .*lambda"),
        (decomposition.DictionaryLearning(3, transform_algorithm="lasso_cd"), "lasso_cd"),
        (preprocessing.SplineTransformer(degree=1, extrapolation="linear"), "other knots"),
    ],
    ids=lambda each: type(each).__name__ if hasattr(each, "fit") else "",
)
@pytest.mark.filterwarnings("ignore")
def test_what_has_no_onnx_form_is_refused_with_its_cause(model, cause, iris):
    rows = with_gaps(iris[0]) if isinstance(model, impute.IterativeImputer) else iris[0]
    with pytest.raises(NotExportableError, match=cause):
        session_of(model.fit(rows), 4)


def test_numbers_that_are_compared_exactly_are_not_rounded(iris):
    for model in (preprocessing.OneHotEncoder(), preprocessing.KBinsDiscretizer(3)):
        with pytest.raises(NotExportableError, match="float64 inputs keep them"):
            session_of(model.fit(iris[0]), 4, np.float32)


@pytest.mark.parametrize(
    "model",
    [
        impute.MissingIndicator(),
        preprocessing.SplineTransformer(extrapolation="error"),
        preprocessing.OneHotEncoder(),
    ],
    ids=lambda model: type(model).__name__,
)
def test_the_graph_raises_where_scikit_learn_raises(model, iris):
    rows = with_gaps(iris[0]) if isinstance(model, impute.MissingIndicator) else iris[0]
    session = session_of(model.fit(rows), 4)
    close(session.run(None, {"rows": rows})[0], model.transform(rows), 1e-9)
    wrong = rows + 100.0
    wrong[0, 0] = np.nan if isinstance(model, impute.MissingIndicator) else 1e6
    with pytest.raises(ValueError):
        model.transform(wrong)
    with pytest.raises(Exception, match="out of data bounds|indices"):
        session.run(None, {"rows": wrong})


BOTH = [("a", LogisticRegression(max_iter=500)), ("b", DecisionTreeClassifier(max_depth=3))]


@pytest.mark.parametrize(
    "model",
    [
        StackingClassifier(BOTH),
        StackingClassifier(BOTH, passthrough=True, stack_method="predict_proba"),
        StackingClassifier([*BOTH, ("c", RidgeClassifier()), ("d", LinearSVC())]),
        VotingClassifier(BOTH),
        VotingClassifier(BOTH, voting="soft"),
        StackingRegressor([("a", LinearRegression()), ("b", DecisionTreeRegressor(max_depth=3))]),
    ],
    ids=lambda model: type(model).__name__,
)
@pytest.mark.parametrize("classes", [2, 3])
def test_ensembles_give_the_predictions_of_their_estimators(model, classes, iris):
    rows, target = iris
    # Scores of float32 classifiers of trees and linear models.
    same(model, rows, np.minimum(target, classes - 1), rows, tolerance=1e-5)
