"""Estimators made of pipelines that select named columns: stacks, calibrations and others."""

from __future__ import annotations

import lightgbm
import numpy as np
import pandas as pd
import pytest
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import ColumnTransformer, TransformedTargetRegressor
from sklearn.discriminant_analysis import (
    LinearDiscriminantAnalysis,
    QuadraticDiscriminantAnalysis,
)
from sklearn.ensemble import (
    AdaBoostClassifier,
    BaggingClassifier,
    GradientBoostingClassifier,
    HistGradientBoostingClassifier,
    StackingClassifier,
    StackingRegressor,
)
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import FixedThresholdClassifier, GridSearchCV
from sklearn.multiclass import OneVsOneClassifier, OneVsRestClassifier, OutputCodeClassifier
from sklearn.multioutput import MultiOutputClassifier, MultiOutputRegressor
from sklearn.neighbors import NearestCentroid
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from sklearn.svm import SVC
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

from mlflow_onnx_flavor.errors import ConversionError
from mlflow_onnx_flavor.inputs import Inputs
from tests.frameworks.in_process import converted, save_estimator, session_of

ROWS = 180


@pytest.fixture(scope="module")
def rows() -> pd.DataFrame:
    generator = np.random.default_rng(5)
    return pd.DataFrame(
        {
            "amount": generator.lognormal(3, 1, ROWS),
            "country": generator.choice(["de", "fr", "us"], ROWS),
            "hours": generator.normal(size=ROWS),
        }
    )


def on_columns(last):
    columns = ColumnTransformer(
        [
            ("number", StandardScaler(), ["amount", "hours"]),
            ("text", OneHotEncoder(handle_unknown="ignore"), ["country"]),
        ]
    )
    return make_pipeline(columns, last)


def linear():
    return on_columns(LogisticRegression())


def tree():
    return on_columns(DecisionTreeClassifier(max_depth=3))


def classes(rows: pd.DataFrame, count: int) -> np.ndarray:
    score = np.log(rows["amount"]) + rows["hours"] + (rows["country"] == "de")
    return np.array(["low", "mid", "top"])[np.digitize(score, [3] if count == 2 else [2.5, 4])]


def right(model, rows: pd.DataFrame, folder) -> None:
    """Converted, it answers new rows too as scikit-learn does, in any order of the columns."""
    save_estimator(model, rows, folder / "source")
    seen = Inputs(rows[:50])
    conversion, _ = converted(folder / "source", "sklearn", Inputs(rows[:5]), seen, folder / "out")
    session, answer = session_of(conversion), model.predict(rows)
    shuffled = rows[sorted(rows, reverse=True)]
    if answer.dtype.kind == "f":
        np.testing.assert_allclose(session.predict(shuffled), answer, rtol=1e-5, atol=1e-5)
        return
    np.testing.assert_array_equal(session.predict(shuffled), answer)
    if hasattr(model, "predict_proba") and not isinstance(model, MultiOutputClassifier):
        found = session.run(shuffled)["probabilities"]
        np.testing.assert_allclose(found, model.predict_proba(rows), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("count", [2, 3])
@pytest.mark.parametrize(
    "make",
    [
        lambda: CalibratedClassifierCV(linear(), cv=2),
        lambda: CalibratedClassifierCV(tree(), cv=2, method="isotonic"),
        lambda: CalibratedClassifierCV(
            GridSearchCV(linear(), {"logisticregression__C": [1, 2]}, cv=2), cv=2
        ),
        lambda: StackingClassifier([("a", linear()), ("b", tree())], cv=2),
        lambda: StackingClassifier([("a", linear())], cv=2, stack_method="decision_function"),
        lambda: OneVsRestClassifier(linear()),
        lambda: OneVsRestClassifier(tree()),
    ],
    ids=["sigmoid", "isotonic", "search", "stack", "stack of scores", "rest", "rest of trees"],
)
def test_classifiers(make, count, rows, tmp_path):
    right(make().fit(rows, classes(rows, count)), rows, tmp_path)


SCORED = {
    "svc": SVC,
    "boosting": lambda: GradientBoostingClassifier(n_estimators=4),
    "histograms": lambda: HistGradientBoostingClassifier(max_iter=4),
    "lightgbm": lambda: lightgbm.LGBMClassifier(n_estimators=4, n_jobs=1, verbose=-1),
    "discriminant": LinearDiscriminantAnalysis,
}


@pytest.mark.parametrize("count", [2, 3])
@pytest.mark.parametrize("name", SCORED)
def test_scores_of_more_than_linear_estimators(name, count, rows, tmp_path):
    model = CalibratedClassifierCV(on_columns(SCORED[name]()), cv=2)
    right(model.fit(rows, classes(rows, count)), rows, tmp_path)


@pytest.mark.parametrize(
    ("scored", "count"),
    [
        (QuadraticDiscriminantAnalysis(reg_param=0.1), 2),
        (NearestCentroid(), 3),
        (AdaBoostClassifier(n_estimators=3), 2),
        (AdaBoostClassifier(n_estimators=3), 3),
        (BaggingClassifier(LogisticRegression(), n_estimators=2, max_features=0.7), 2),
        (OneVsOneClassifier(LogisticRegression()), 3),
        (OneVsRestClassifier(LogisticRegression()), 3),
        (StackingClassifier([("a", LogisticRegression())], LogisticRegression(), cv=2), 2),
    ],
    ids=lambda each: getattr(type(each), "__name__", ""),
)
def test_scores_of_what_is_made_of_others(scored, count, rows, tmp_path):
    model = on_columns(CalibratedClassifierCV(scored, cv=2))
    right(model.fit(rows, classes(rows, count)), rows, tmp_path)


@pytest.mark.parametrize(
    ("make", "count"),
    [
        (lambda: FixedThresholdClassifier(on_columns(SVC()), threshold=0.3), 2),
        (lambda: StackingClassifier([("a", on_columns(SVC())), ("b", tree())], cv=2), 2),
        (lambda: on_columns(StackingClassifier([("a", SVC())], cv=2)), 2),
        (lambda: on_columns(OneVsRestClassifier(SVC())), 3),
        (lambda: OneVsRestClassifier(on_columns(SVC())), 3),
        (lambda: on_columns(OutputCodeClassifier(AdaBoostClassifier(n_estimators=3))), 3),
        (lambda: on_columns(StackingClassifier([("a", SVC())], cv=2, passthrough=True)), 3),
    ],
    ids=["threshold", "stack", "stack on a matrix", "rest on a matrix", "rest", "code", "passed"],
)
def test_scores_that_others_decide_by(make, count, rows, tmp_path):
    right(make().fit(rows, classes(rows, count)), rows, tmp_path)


@pytest.mark.parametrize(
    "make",
    [
        lambda: StackingRegressor(
            [("a", on_columns(Ridge())), ("b", on_columns(DecisionTreeRegressor(max_depth=3)))],
            cv=2,
        ),
        lambda: TransformedTargetRegressor(
            on_columns(Ridge()), func=np.log1p, inverse_func=np.expm1
        ),
    ],
    ids=["stack", "transformed target"],
)
def test_regressors(make, rows, tmp_path):
    right(make().fit(rows, rows["amount"] * 2), rows, tmp_path)


def test_several_targets(rows, tmp_path):
    targets = np.c_[rows["amount"], rows["hours"]]
    right(MultiOutputRegressor(on_columns(Ridge())).fit(rows, targets), rows, tmp_path)


@pytest.mark.parametrize("count", [2, 3])
@pytest.mark.parametrize("classifier", [LogisticRegression(), DecisionTreeClassifier(max_depth=3)])
@pytest.mark.parametrize("place", ["on named columns", "on a matrix"])
def test_calibration_by_temperature(place, classifier, count, rows, tmp_path):
    given = rows if place == "on named columns" else rows[["amount", "hours"]]
    inner = on_columns(classifier) if place == "on named columns" else classifier
    model = CalibratedClassifierCV(inner, method="temperature", cv=2)
    right(model.fit(given, classes(rows, count)), given, tmp_path)


LABELS = {
    "texts": (["no", "yes"], ["cheap", "dear"]),
    "whole numbers": ([-1, 1], [0, 5]),
    "numbers": ([-0.0, 1.0], [2.0, 7.0]),
    "truth values": ([False, True], [True, False]),
}


@pytest.mark.parametrize("kind", LABELS)
@pytest.mark.parametrize("make", [linear, tree])
def test_labels_of_several_outputs(make, kind, rows, tmp_path):
    holds = (rows["hours"] > 0).astype(int), (rows["amount"] > 20).astype(int)
    labels = np.c_[tuple(np.array(LABELS[kind][at])[holds[at]] for at in (0, 1))]
    right(MultiOutputClassifier(make()).fit(rows, labels), rows, tmp_path)


def test_one_against_the_rest_of_several_labels(rows, tmp_path):
    labels = np.c_[rows["hours"] > 0, rows["amount"] > 20].astype(int)
    right(OneVsRestClassifier(linear()).fit(rows, labels), rows, tmp_path)


def test_isotonic_calibrations_of_boosted_trees_on_a_matrix(rows, tmp_path):
    trees = lightgbm.LGBMClassifier(n_estimators=4, n_jobs=1, verbose=-1)
    model = on_columns(CalibratedClassifierCV(trees, method="isotonic", cv=2))
    right(model.fit(rows, classes(rows, 2)), rows, tmp_path)


def test_what_has_no_form_is_refused_with_the_remedy(rows, tmp_path):
    labels = np.c_[rows["hours"] > 0, rows["amount"] > 20].astype(int)
    final = DecisionTreeClassifier(max_depth=3)
    model = StackingClassifier([("a", tree())], final, cv=2).fit(rows, labels)
    with pytest.raises(ConversionError, match="fit one for each output"):
        right(model, rows, tmp_path)
