"""scikit-learn's own catalogue of classifiers, regressors and clusterers is converted right."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.base import BaseEstimator
from sklearn.cluster import KMeans
from sklearn.compose import TransformedTargetRegressor
from sklearn.covariance import EllipticEnvelope
from sklearn.datasets import load_iris, make_regression
from sklearn.decomposition import PCA
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.dummy import DummyClassifier
from sklearn.ensemble import RandomForestClassifier, VotingClassifier
from sklearn.feature_selection import RFE
from sklearn.gaussian_process import GaussianProcessClassifier, kernels
from sklearn.isotonic import IsotonicRegression
from sklearn.kernel_ridge import KernelRidge
from sklearn.linear_model import (
    LinearRegression,
    LogisticRegression,
    Ridge,
    RidgeClassifier,
    SGDClassifier,
)
from sklearn.mixture import BayesianGaussianMixture, GaussianMixture
from sklearn.model_selection import FixedThresholdClassifier, GridSearchCV
from sklearn.model_selection._search_successive_halving import HalvingGridSearchCV
from sklearn.multiclass import OneVsOneClassifier
from sklearn.multioutput import ClassifierChain, MultiOutputClassifier, RegressorChain
from sklearn.neighbors import (
    KNeighborsClassifier,
    KNeighborsRegressor,
    NearestCentroid,
    RadiusNeighborsClassifier,
    RadiusNeighborsRegressor,
)
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import (
    FunctionTransformer,
    MinMaxScaler,
    PowerTransformer,
    QuantileTransformer,
    StandardScaler,
)
from sklearn.semi_supervised import LabelPropagation
from sklearn.svm import LinearSVC

from mlflow_onnx_flavor.errors import ConversionError
from mlflow_onnx_flavor.inputs import Inputs
from tests.frameworks.in_process import converted, save_estimator, session_of
from tests.frameworks.sklearn.catalogue import DTYPES, estimators, ours

FLOWERS, SPECIES = load_iris(return_X_y=True)
NAMES = np.array(["setosa", "versicolor", "virginica"], object)[SPECIES]
AMOUNTS = FLOWERS[:, 0] * 2 + FLOWERS[:, 1] ** 2

# Of the families that are ours, a few each; all of them are in the sweep.
SAMPLE = {
    "classifier": ["NearestCentroid", "OneVsOneClassifier", "QuadraticDiscriminantAnalysis"],
    "regressor": ["CCA", "KernelRidge", "RegressorChain"],
    "cluster": ["Birch", "BisectingKMeans", "MeanShift"],
}


def catalogue(kinds: dict[str, list[str] | None]):
    return [
        pytest.param(fit, dtype, id=f"{name}-{np.dtype(dtype)}")
        for kind, only in kinds.items()
        for name, fit in estimators(kind, only)
        for dtype in DTYPES
    ]


@pytest.mark.parametrize(("fit", "dtype"), catalogue(SAMPLE))
def test_an_estimator_of_the_catalogue_is_right_on_rows_unseen(fit, dtype):
    assert ours(*fit(dtype), transforms=False) == ""


@pytest.mark.slow
@pytest.mark.parametrize(("fit", "dtype"), catalogue(dict.fromkeys(SAMPLE)))
def test_every_estimator_of_the_catalogue_is_right_on_rows_unseen(fit, dtype):
    assert ours(*fit(dtype), transforms=False) == ""


def answers(model: BaseEstimator, rows: np.ndarray, folder, unseen: np.ndarray | None = None):
    """What the source and the converted model answer: dictionaries by output."""
    save_estimator(model, rows, folder / "source")
    conversion, _ = converted(
        folder / "source", "sklearn", Inputs(rows[:5]), Inputs(rows), folder / "out"
    )
    session = session_of(conversion)
    asked = rows if unseen is None else unseen
    expected = {"prediction": model.predict(asked)}
    if "probabilities" in conversion.output_names:
        expected["probabilities"] = model.predict_proba(asked)
    found = session.run(asked)
    return expected, {name.replace("label", "prediction"): each for name, each in found.items()}


def equal(expected, found, tolerance=1e-7):
    assert set(expected) == set(found)
    for name, source in expected.items():
        if source.dtype.kind == "f":
            np.testing.assert_allclose(found[name], source, rtol=tolerance, atol=tolerance)
        else:
            assert found[name].tolist() == source.tolist()


@pytest.mark.parametrize("voting", ["soft", "hard"])
def test_votes_are_weighed_and_answer_with_the_labels(voting, tmp_path):
    model = VotingClassifier(
        [("a", LogisticRegression()), ("b", RandomForestClassifier(9, random_state=0))],
        voting=voting,
        weights=[1, 2.5],
    )
    equal(*answers(model.fit(FLOWERS, NAMES), FLOWERS, tmp_path), tolerance=1e-5)


@pytest.mark.parametrize(
    "model",
    [
        VotingClassifier([("a", LinearSVC()), ("b", LinearDiscriminantAnalysis())]),
        OneVsOneClassifier(LinearSVC()),
        GridSearchCV(make_pipeline(StandardScaler(), LinearSVC()), {"linearsvc__C": [1, 2]}, cv=2),
    ],
    ids=["vote", "pairs", "search"],
)
def test_estimators_without_probabilities_inside_of_others(model, tmp_path):
    equal(*answers(model.fit(FLOWERS, NAMES), FLOWERS, tmp_path))


KERNELS = [
    kernels.RBF([0.5, 1.0, 2.0, 1.5]) * 2.0 + kernels.WhiteKernel(0.1),
    kernels.Matern(1.3, nu=1.5),
    kernels.Matern(1.3, nu=2.5) + kernels.DotProduct(0.7),
    kernels.RationalQuadratic(1.2, 0.8),
    kernels.ExpSineSquared(2.0, 50.0) ** 2 + kernels.WhiteKernel(0.1),
]


@pytest.mark.parametrize("kernel", KERNELS, ids=str)
@pytest.mark.parametrize("classes", [2, 3])
def test_gaussian_processes_classify_in_float64(kernel, classes, tmp_path):
    known = classes > SPECIES
    rows, labels = FLOWERS[known], NAMES[known]
    model = GaussianProcessClassifier(kernel, optimizer=None, random_state=0)
    model.fit(rows[::3], labels[::3])
    equal(*answers(model, rows, tmp_path), tolerance=1e-6)


@pytest.mark.parametrize("transform", [np.log1p, np.log, np.sqrt, None])
def test_targets_are_transformed_back(transform, tmp_path):
    inverse = {np.log1p: np.expm1, np.log: np.exp, np.sqrt: np.square, None: None}[transform]
    model = TransformedTargetRegressor(LinearRegression(), func=transform, inverse_func=inverse)
    equal(*answers(model.fit(FLOWERS, AMOUNTS), FLOWERS, tmp_path), tolerance=1e-5)


@pytest.mark.parametrize(
    "transformer",
    [
        MinMaxScaler(),
        PowerTransformer(),
        PowerTransformer("box-cox", standardize=False),
        QuantileTransformer(n_quantiles=20),
        QuantileTransformer(n_quantiles=20, output_distribution="normal"),
        make_pipeline(FunctionTransformer(np.log1p, np.expm1), StandardScaler()),
    ],
    ids=["range", "Yeo-Johnson", "Box-Cox", "quantiles", "normal quantiles", "pipeline"],
)
def test_targets_are_put_back_also_of_several_outputs(transformer, tmp_path):
    model = TransformedTargetRegressor(Ridge(), transformer=transformer)
    model.fit(FLOWERS, np.c_[AMOUNTS, AMOUNTS**2])
    unseen = FLOWERS + np.random.default_rng(0).normal(size=FLOWERS.shape)  # beyond the targets
    equal(*answers(model, FLOWERS, tmp_path, unseen), tolerance=1e-4)


def test_a_function_that_onnx_lacks_is_refused_by_its_name(tmp_path):
    model = TransformedTargetRegressor(
        LinearRegression(), func=np.arctan, inverse_func=np.tan, check_inverse=False
    )
    with pytest.raises(ConversionError, match="the inverse function tan of a TransformedTarget"):
        answers(model.fit(FLOWERS, AMOUNTS), FLOWERS, tmp_path)


@pytest.mark.parametrize("order", [[0, 1, 2], [2, 0, 1]])
def test_a_chain_passes_on_its_answers_in_its_order(order, tmp_path):
    rows, targets = make_regression(80, 5, n_targets=3, random_state=0)
    model = RegressorChain(Ridge(), order=order).fit(rows, targets)
    equal(*answers(model, rows, tmp_path), tolerance=1e-5)


def test_a_chain_of_classifiers_answers_a_column_a_label(tmp_path):
    targets = np.c_[SPECIES > 0, SPECIES == 1, AMOUNTS > 20].astype(int)
    model = ClassifierChain(LogisticRegression(), order=[1, 2, 0]).fit(FLOWERS, targets)
    expected, found = answers(model, FLOWERS, tmp_path)
    assert found["prediction"].tolist() == expected["prediction"].tolist()


@pytest.mark.parametrize("label", ["setosa", "other"])
def test_a_threshold_decides_for_its_label(label, tmp_path):
    labels = np.where(SPECIES == 0, "setosa", "other").astype(object)
    model = FixedThresholdClassifier(LogisticRegression(), threshold=0.9, pos_label=label)
    equal(*answers(model.fit(FLOWERS, labels), FLOWERS, tmp_path), tolerance=1e-5)


@pytest.mark.parametrize("kind", [GridSearchCV, HalvingGridSearchCV])
def test_a_search_in_a_pipeline_answers_as_its_best(kind, tmp_path):
    search = kind(LogisticRegression(), {"C": [0.1, 1.0]}, cv=2)
    model = make_pipeline(StandardScaler(), search).fit(FLOWERS, NAMES)
    equal(*answers(model, FLOWERS, tmp_path), tolerance=1e-5)


@pytest.mark.parametrize("beyond", ["clip", "nan"])
def test_isotonic_lines_and_what_lies_beyond(beyond, tmp_path):
    model = IsotonicRegression(out_of_bounds=beyond).fit(FLOWERS[:, 0], AMOUNTS)
    rows = np.linspace(4.4, 7.8, 40).reshape(-1, 1)
    unseen = np.linspace(3.0, 9.0, 90).reshape(-1, 1)
    equal(*answers(model, rows, tmp_path, unseen), tolerance=1e-5)


def test_rows_without_neighbours_are_as_the_source_has_them(tmp_path):
    far = np.vstack([FLOWERS[:5], FLOWERS[:5] + 100])
    mean = RadiusNeighborsRegressor(1.0, weights="distance").fit(FLOWERS, AMOUNTS)
    equal(*answers(mean, FLOWERS, tmp_path / "mean", far), tolerance=1e-6)
    votes = RadiusNeighborsClassifier(1.0, outlier_label="virginica").fit(FLOWERS, NAMES)
    equal(*answers(votes, FLOWERS, tmp_path / "votes", far), tolerance=1e-6)


@pytest.mark.parametrize("kernel", ["rbf", "poly", "laplacian", "cosine"])
def test_kernel_ridge_is_computed_in_float64(kernel, tmp_path):
    model = KernelRidge(kernel=kernel, gamma=0.3, alpha=0.1).fit(FLOWERS * 100, AMOUNTS)
    equal(*answers(model, FLOWERS * 100, tmp_path), tolerance=1e-4)


@pytest.mark.parametrize("metric", ["euclidean", "manhattan"])
def test_the_nearest_centroid_by_each_metric(metric, tmp_path):
    model = NearestCentroid(metric=metric, shrink_threshold=0.2).fit(FLOWERS, NAMES)
    expected, found = answers(model, FLOWERS, tmp_path)
    assert found["prediction"].tolist() == expected["prediction"].tolist()


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize(
    "model",
    [
        LinearDiscriminantAnalysis(),
        SGDClassifier("modified_huber", random_state=0),
        SGDClassifier("log_loss", random_state=0),
        SGDClassifier(random_state=0),
    ],
    ids=["discriminant", "modified huber", "log loss", "hinge"],
)
def test_linear_scores_become_probabilities(model, classes, tmp_path):
    some = classes > SPECIES
    model.fit(FLOWERS[some], NAMES[some])
    equal(*answers(model, FLOWERS[some], tmp_path, FLOWERS), tolerance=1e-5)


@pytest.mark.parametrize("kernel", ["rbf", "knn"])
def test_labels_are_propagated(kernel, tmp_path):
    labels = np.where(np.arange(150) % 3, -1, SPECIES)
    model = LabelPropagation(kernel=kernel, n_neighbors=6).fit(FLOWERS, labels)
    rows = FLOWERS + np.random.default_rng(0).normal(size=FLOWERS.shape) * 1e-3
    equal(*answers(model, rows, tmp_path), tolerance=1e-5)


SPREAD = FLOWERS + np.random.default_rng(7).normal(size=FLOWERS.shape) * 1e-3  # without ties


@pytest.mark.parametrize("weights", ["uniform", "distance"])
def test_neighbours_vote_and_a_training_row_is_its_own(weights, tmp_path):
    model = make_pipeline(PCA(3), KNeighborsClassifier(weights=weights)).fit(SPREAD, NAMES)
    unseen = np.concatenate([SPREAD, SPREAD[:-1] * 0.7 + SPREAD[1:] * 0.3])
    equal(*answers(model, SPREAD, tmp_path, unseen), tolerance=1e-4)


@pytest.mark.parametrize(
    "model", [MLPClassifier((4,), max_iter=20, random_state=0), RidgeClassifier()]
)
def test_several_labels_at_once_are_refused_with_the_remedy(model, tmp_path):
    labels = np.column_stack([FLOWERS[:, 0] > 5.8, FLOWERS[:, 2] > 4]).astype(int)
    with pytest.raises(ConversionError, match=f"MultiOutputClassifier.{type(model).__name__}"):
        answers(model.fit(FLOWERS, labels), FLOWERS, tmp_path / "refused")
    remedy = MultiOutputClassifier(model).fit(FLOWERS, labels)
    equal(*answers(remedy, FLOWERS, tmp_path / "remedy"))


def test_neighbours_answer_with_means_of_several_targets(tmp_path):
    model = KNeighborsRegressor(weights="distance").fit(SPREAD, np.c_[AMOUNTS, AMOUNTS**2])
    unseen = SPREAD[:-1] * 0.7 + SPREAD[1:] * 0.3
    equal(*answers(model, SPREAD, tmp_path, unseen), tolerance=1e-5)


def test_ties_among_neighbours_now_and_then_are_told(tmp_path):
    """Of the flowers, which are measured to the millimetre, two have equally far neighbours."""
    model = KNeighborsClassifier().fit(FLOWERS, NAMES)
    save_estimator(model, FLOWERS, tmp_path / "source")
    rows = Inputs(FLOWERS[:5])
    conversion, _ = converted(tmp_path / "source", "sklearn", rows, rows, tmp_path / "out")
    told = next(each.cause for each in conversion.attempts if each.outcome == "converted")
    assert "for 1.3% of its own training rows" in told and "whose values rarely repeat" in told
    spread = FLOWERS + np.random.default_rng(1).normal(size=FLOWERS.shape) / 10
    asked = session_of(conversion).run(spread)
    assert asked["label"].tolist() == model.predict(spread).tolist()
    np.testing.assert_allclose(asked["probabilities"], model.predict_proba(spread), atol=1e-6)


def test_neighbours_that_ties_leave_undecided_are_refused(tmp_path):
    counts = np.random.default_rng(0).integers(0, 5, (200, 2)).astype(float)
    model = KNeighborsRegressor().fit(counts, np.arange(200))
    with pytest.raises(ConversionError, match="equally far at the edge .* whose values rarely rep"):
        answers(model, counts, tmp_path)


FAR = np.array([[1e9, 1.0, 2.0, 3.0], [-3e7, 1.0, 1.0, 1.0], [1e20, 1.0, 1.0, 1.0]])


@pytest.mark.parametrize(
    "model",
    [
        KMeans(3, n_init=1, random_state=0),
        GaussianMixture(3, random_state=0),
        GaussianMixture(3, covariance_type="tied", random_state=0),
        BayesianGaussianMixture(n_components=3, covariance_type="diag", random_state=0),
        EllipticEnvelope(random_state=0),
        RFE(LogisticRegression(max_iter=500), n_features_to_select=2),
        MLPRegressor(hidden_layer_sizes=5, activation="tanh", solver="lbfgs", random_state=0),
    ],
    ids=["k-means", "mixture", "tied", "Bayesian", "envelope", "selection", "network"],
)
@pytest.mark.filterwarnings("ignore")
def test_rows_far_beyond_those_of_training(model, tmp_path):
    targets = np.c_[AMOUNTS, SPECIES] if isinstance(model, MLPRegressor) else NAMES
    unseen = np.concatenate([FLOWERS * 1.1, FAR])
    equal(*answers(model.fit(FLOWERS, targets), FLOWERS, tmp_path, unseen), tolerance=1e-4)


def test_random_labels_are_refused_with_the_remedy(tmp_path):
    model = DummyClassifier(strategy="stratified", random_state=0).fit(FLOWERS, NAMES)
    with pytest.raises(ConversionError, match="a graph draws no random labels; use strategy"):
        answers(model, FLOWERS, tmp_path)


def test_a_forest_of_several_outputs_answers_all_of_them(tmp_path):
    targets = np.c_[SPECIES, AMOUNTS > 20].astype(int)
    model = RandomForestClassifier(7, random_state=0).fit(FLOWERS, targets)
    expected, found = answers(model, FLOWERS, tmp_path)
    assert found["prediction"].tolist() == expected["prediction"].tolist()
