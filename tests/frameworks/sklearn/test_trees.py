"""scikit-learn's trees: every row takes the branch in ONNX that it takes in scikit-learn."""

from __future__ import annotations

import mlflow
import numpy as np
import onnx
import onnxruntime
import pandas as pd
import pytest
import skl2onnx
from skl2onnx.common.data_types import DoubleTensorType, FloatTensorType
from sklearn.datasets import make_classification, make_regression
from sklearn.dummy import DummyRegressor
from sklearn.ensemble import (
    AdaBoostClassifier,
    AdaBoostRegressor,
    BaggingClassifier,
    BaggingRegressor,
    ExtraTreesClassifier,
    ExtraTreesRegressor,
    GradientBoostingClassifier,
    GradientBoostingRegressor,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    IsolationForest,
    RandomForestClassifier,
    RandomForestRegressor,
    RandomTreesEmbedding,
)
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.tree import (
    DecisionTreeClassifier,
    DecisionTreeRegressor,
    ExtraTreeClassifier,
    ExtraTreeRegressor,
)

from mlflow_onnx_flavor.frameworks.sklearn import converters
from mlflow_onnx_flavor.inputs import Inputs
from tests.builders import SCALES, SHIFTS, scaled_rows, scaled_target
from tests.frameworks.in_process import converted, session_of

TEXTS = np.array(["low", "middle", "high"])


def classes(rows: np.ndarray, count: int) -> np.ndarray:
    return np.digitize(
        scaled_target(rows), np.quantile(scaled_target(rows), np.arange(1, count) / count)
    )


def hostile(model, rows: np.ndarray, dtype, missing: bool = False) -> np.ndarray:
    """Rows with one value on a threshold of the model or one ulp beside it, of either float."""
    changed = [rows]
    for feature, threshold in thresholds(model):
        narrow = np.float32(threshold)
        beside = [threshold, np.nextafter(threshold, -np.inf), np.nextafter(threshold, np.inf)]
        beside += [narrow, np.nextafter(narrow, np.float32(-np.inf))]
        beside += [np.nextafter(narrow, np.float32(np.inf))]
        some = rows[np.arange(len(beside)) % len(rows)].copy()
        some[:, feature] = beside
        changed.append(some)
    hostile_rows = np.concatenate(changed)[:6000]
    if missing:
        hostile_rows = hostile_rows.copy()
        hostile_rows[np.random.default_rng(3).random(hostile_rows.shape) < 0.1] = np.nan
    return hostile_rows.astype(dtype)


def thresholds(model):
    """(feature, threshold) of every split of the model, the features as the model counts them."""
    if hasattr(model, "_predictors"):
        for stage in model._predictors:
            for predictor in stage:
                inner = predictor.nodes[predictor.nodes["is_leaf"] == 0]
                finite = inner[np.isfinite(inner["num_threshold"])]
                yield from zip(finite["feature_idx"], finite["num_threshold"], strict=True)
        return
    for tree in np.ravel(getattr(model, "estimators_", [model])):
        inner = (tree.tree_.feature >= 0) & (np.abs(tree.tree_.threshold) < 1e38)
        yield from zip(tree.tree_.feature[inner], tree.tree_.threshold[inner], strict=True)


def exported(model, columns: int, dtype, **options):
    converters.register_all()
    kind = DoubleTensorType if dtype == np.float64 else FloatTensorType
    exported = skl2onnx.to_onnx(
        model,
        initial_types=[("input", kind([None, columns]))],
        options={id(model): options} if options else None,
        target_opset={"": 21, "ai.onnx.ml": 3},
    )
    onnx.checker.check_model(exported)
    return onnxruntime.InferenceSession(
        exported.SerializeToString(), providers=["CPUExecutionProvider"]
    )


def same_classifier(model, rows: np.ndarray, tolerance: float | None = None) -> None:
    label, scores = exported(model, rows.shape[1], rows.dtype, zipmap=False).run(
        None, {"input": rows}
    )
    np.testing.assert_array_equal(label, model.predict(rows))
    close(scores, model.predict_proba(rows), rows.dtype, tolerance)


def same_regressor(model, rows: np.ndarray) -> None:
    answer = exported(model, rows.shape[1], rows.dtype).run(None, {"input": rows})[0]
    expected = model.predict(rows)
    close(answer.reshape(expected.shape), expected, rows.dtype)


def close(answer, expected, dtype, tolerance: float | None = None) -> None:
    assert answer.dtype == dtype
    tolerance = tolerance or (1e-12 if dtype == np.float64 else 1e-6)
    np.testing.assert_allclose(answer, expected, rtol=tolerance, atol=tolerance)


DTYPES = pytest.mark.parametrize("dtype", [np.float32, np.float64])


@DTYPES
@pytest.mark.parametrize("count", [2, 3])
@pytest.mark.parametrize(
    "model",
    [
        DecisionTreeClassifier(random_state=0),
        ExtraTreeClassifier(random_state=0),
        RandomForestClassifier(10, random_state=0),
        ExtraTreesClassifier(10, max_depth=5, random_state=0),
        BaggingClassifier(n_estimators=5, max_features=0.7, random_state=0),
        GradientBoostingClassifier(n_estimators=10, random_state=0),
        AdaBoostClassifier(DecisionTreeClassifier(max_depth=2), n_estimators=10, random_state=0),
    ],
    ids=lambda model: type(model).__name__,
)
def test_classifiers_at_their_thresholds(model, count, dtype):
    rows = scaled_rows(300)
    model.fit(rows, TEXTS[classes(rows, count)])
    same_classifier(model, hostile(model, rows, dtype))


@DTYPES
@pytest.mark.parametrize(
    "model",
    [
        DecisionTreeRegressor(random_state=0),
        ExtraTreeRegressor(random_state=0),
        RandomForestRegressor(10, random_state=0),
        ExtraTreesRegressor(10, random_state=0),
        BaggingRegressor(n_estimators=5, max_features=0.7, random_state=0),
        GradientBoostingRegressor(n_estimators=10, random_state=0),
        GradientBoostingRegressor(loss="huber", init="zero", n_estimators=10, random_state=0),
        AdaBoostRegressor(n_estimators=10, random_state=0),
    ],
    ids=lambda model: type(model).__name__,
)
def test_regressors_at_their_thresholds(model, dtype):
    rows = scaled_rows(300)
    model.fit(rows, scaled_target(rows))
    same_regressor(model, hostile(model, rows, dtype))


@DTYPES
def test_one_leaf_is_a_tree(dtype):
    rows = scaled_rows(20)
    same_regressor(DecisionTreeRegressor().fit(rows, np.ones(20)), rows.astype(dtype))
    model = RandomForestClassifier(3, max_depth=1).fit(rows, np.ones(20, int))
    same_classifier(model, rows.astype(dtype))


@DTYPES
def test_several_outputs(dtype):
    rows = scaled_rows(300)
    several = np.c_[classes(rows, 3), classes(rows[:, ::-1] * SCALES + SHIFTS, 2)]
    model = RandomForestClassifier(5, random_state=0).fit(rows, several)
    tested = hostile(model, rows, dtype)
    label, stacked = exported(model, 4, dtype, zipmap=False).run(None, {"input": tested})
    np.testing.assert_array_equal(label, model.predict(tested))
    for position, expected in enumerate(model.predict_proba(tested)):
        close(stacked[position, :, : expected.shape[1]], expected, dtype)
    regressor = RandomForestRegressor(5, random_state=0).fit(
        rows, np.c_[rows[:, 2], scaled_target(rows)]
    )
    same_regressor(regressor, tested)


@DTYPES
@pytest.mark.parametrize("forest", [DecisionTreeClassifier, RandomForestClassifier])
def test_missing_values_go_where_training_sent_them(forest, dtype):
    rows = scaled_rows(300)
    with_missing = rows.copy()
    with_missing[np.random.default_rng(5).random(rows.shape) < 0.2] = np.nan
    model = forest(random_state=0).fit(with_missing, classes(rows, 3))
    same_classifier(model, hostile(model, with_missing, dtype, missing=True))


@DTYPES
@pytest.mark.parametrize("loss", ["log_loss", "exponential"])
@pytest.mark.parametrize("init", ["zero", None, LogisticRegression()], ids=str)
def test_what_boosting_begins_with(init, loss, dtype):
    generator = np.random.default_rng(0)
    rows = generator.normal(size=(200, 4))
    target = (rows[:, 0] + rows[:, 1] > 0).astype(int)
    model = GradientBoostingClassifier(loss=loss, init=init, n_estimators=5, random_state=0)
    same_classifier(model.fit(rows, target), rows.astype(dtype), tolerance=1e-6)


@DTYPES
@pytest.mark.parametrize("init", [LinearRegression(), DummyRegressor(strategy="median")], ids=str)
def test_what_boosting_of_numbers_begins_with(init, dtype):
    rows = np.random.default_rng(0).normal(size=(200, 4))
    model = GradientBoostingRegressor(init=init, n_estimators=5).fit(rows, rows[:, 0] ** 2)
    answer = exported(model, 4, dtype).run(None, {"input": rows.astype(dtype)})[0]
    expected = model.predict(rows)
    np.testing.assert_allclose(answer[:, 0], expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("count", [2, 3])
def test_histogram_classifiers_at_their_thresholds(count):
    rows = scaled_rows(300)
    rows[::7] = np.nan
    model = HistGradientBoostingClassifier(max_iter=8, min_samples_leaf=5)
    model.fit(rows, TEXTS[classes(scaled_rows(300), count)])
    tested = hostile(model, rows, np.float64, missing=True)
    same_classifier(model, np.r_[tested, [[np.inf] * 4, [-np.inf] * 4]])


@pytest.mark.parametrize(
    "loss", ["squared_error", "absolute_error", "gamma", "poisson", "quantile"]
)
def test_histogram_regressors_at_their_thresholds(loss):
    rows = scaled_rows(300)
    model = HistGradientBoostingRegressor(
        loss=loss, max_iter=8, quantile=0.3 if loss == "quantile" else None
    )
    model.fit(rows, np.exp(scaled_target(rows) / 4))
    same_regressor(model, hostile(model, rows, np.float64, missing=True))


def test_histogram_boosting_refuses_rows_that_were_rounded():
    rows = scaled_rows(60)
    model = HistGradientBoostingRegressor(max_iter=3).fit(rows, scaled_target(rows))
    with pytest.raises(Exception, match="compares in float64"):
        exported(model, 4, np.float32)


def test_categories_given_as_numbers():
    generator = np.random.default_rng(0)
    rows = generator.normal(size=(500, 3))
    rows[:, 1] = generator.choice([0.5, 3, 7, 300, -2, 1e6], 500)
    rows[::11, 1] = np.nan
    target = (np.nan_to_num(rows[:, 1]) % 2 > 0.4) * 3.0 + rows[:, 0]
    model = HistGradientBoostingRegressor(
        max_iter=20, categorical_features=[1], min_samples_leaf=3
    ).fit(rows, target)
    tested = rows.copy()
    tested[::5, 1] = generator.choice([99, 1.5, -1, 1e9, np.nan], 100)  # seen by no tree
    same_regressor(model, tested)


@DTYPES
def test_isolation_forests(dtype):
    rows = scaled_rows(300)
    for model in (
        IsolationForest(n_estimators=20, random_state=0),
        IsolationForest(n_estimators=20, max_features=0.5, contamination=0.1, random_state=0),
    ):
        model.fit(rows)
        tested = hostile(model, rows, dtype) if model.max_features == 1 else rows.astype(dtype)
        label, distance = exported(model, 4, dtype).run(None, {"input": tested})
        np.testing.assert_array_equal(label[:, 0], model.predict(tested))
        close(distance[:, 0], model.decision_function(tested), dtype)


@DTYPES
def test_embeddings_of_random_trees(dtype):
    rows = scaled_rows(300)
    model = RandomTreesEmbedding(5, sparse_output=False, random_state=0).fit(rows)
    tested = hostile(model, rows, dtype)
    answer = exported(model, 4, dtype).run(None, {"input": tested})[0]
    np.testing.assert_array_equal(answer, model.transform(tested))


def test_ready_made_data_with_integer_labels():
    rows, target = make_classification(300, 8, n_informative=5, n_classes=3, random_state=0)
    same_classifier(RandomForestClassifier(20, max_depth=4, random_state=0).fit(rows, target), rows)
    rows, target = make_regression(300, 8, random_state=0)
    same_regressor(RandomForestRegressor(20, random_state=0).fit(rows, target), rows)


def saved(model, rows: pd.DataFrame, folder, signature=True):
    mlflow.sklearn.save_model(
        model,
        str(folder),
        signature=mlflow.models.infer_signature(rows) if signature else None,
        serialization_format="cloudpickle",
        pip_requirements=[],
    )
    return folder


def test_histogram_boosting_converts_from_frames_of_large_numbers(tmp_path):
    rows = pd.DataFrame(scaled_rows(300), columns=list("abcd"))
    model = HistGradientBoostingClassifier(max_iter=8).fit(rows, classes(scaled_rows(300), 2))
    tested = pd.DataFrame(hostile(model, scaled_rows(300), np.float64), columns=list("abcd"))
    folder = saved(model, rows, tmp_path / "source")
    conversion, _ = converted(folder, "sklearn", Inputs(rows[:5]), Inputs(rows), tmp_path / "out")
    session = session_of(conversion)
    np.testing.assert_array_equal(session.predict(tested), model.predict(tested))


def with_cities(rows: int = 300) -> pd.DataFrame:
    generator = np.random.default_rng(0)
    frame = pd.DataFrame({"a": generator.normal(size=rows)})
    frame["city"] = generator.choice(["Oslo", "Köln", "Rome", "Bonn"], rows).astype(object)
    frame["grade"] = generator.integers(0, 9, rows)
    frame.loc[::7, "city"] = None
    return frame


@pytest.mark.parametrize("columns", [["a", "city", "grade"], ["city"], ["city", "grade"]], ids=str)
def test_categories_given_as_text(columns, tmp_path):
    rows = with_cities()
    target = rows["a"] + (rows["city"] == "Rome") * 2 + (rows["grade"] % 3)
    model = HistGradientBoostingRegressor(
        max_iter=10, categorical_features=[each for each in columns if each != "a"]
    ).fit(rows[columns], target)
    folder = saved(model, rows[columns], tmp_path / "source")
    conversion, _ = converted(
        folder, "sklearn", Inputs(rows[columns][:5]), Inputs(rows[columns]), tmp_path / "out"
    )
    session = session_of(conversion)
    tested = rows[columns].copy()
    tested.loc[::5, "city"] = "Bern"  # seen by no tree
    np.testing.assert_allclose(session.predict(tested), model.predict(tested), rtol=1e-12)
