"""XGBoost: every row takes the branch in ONNX that it takes in XGBoost, and answers alike."""

from __future__ import annotations

import mlflow
import numpy as np
import pandas as pd
import pytest
import xgboost

from mlflow_onnx_flavor.errors import ConversionError
from mlflow_onnx_flavor.inputs import Inputs
from tests.builders import SCALES, SHIFTS, scaled_rows, scaled_target, with_missing
from tests.frameworks.in_process import converted, session_of

SMALL = {"max_depth": 4, "n_jobs": 1}


def hostile(model, rows: np.ndarray) -> np.ndarray:
    """Rows with one value on a threshold or one ulp of either float beside it, or missing."""
    booster = model.get_booster() if hasattr(model, "get_booster") else model
    splits = booster.trees_to_dataframe().dropna(subset=["Split"])
    names = booster.feature_names or [f"f{number}" for number in range(rows.shape[1])]
    beside = []
    for each in splits.itertuples():
        at = np.float32(each.Split)
        around = [at, np.nextafter(at, np.float32(-np.inf)), np.nextafter(at, np.float32(np.inf))]
        around += [np.nextafter(np.float64(at), -np.inf), np.nextafter(np.float64(at), np.inf)]
        beside += [(names.index(each.Feature), value) for value in around]
    beside += [
        (feature, value)
        for feature in range(rows.shape[1])
        for value in (0.0, -0.0, np.nan, 1e-42, 1e38, -1e38)
    ]
    changed = rows[np.arange(len(beside)) % len(rows)].copy()
    for number, (feature, value) in enumerate(beside):
        changed[number, feature] = value
    return np.concatenate([rows, changed])


def right(model, rows, tested, folder, tolerance=2e-6):
    """Convert on some of ``rows``; the answers on ``tested`` are XGBoost's."""
    mlflow.xgboost.save_model(model, str(folder / "source"), pip_requirements=[])
    conversion, source = converted(
        folder / "source", "xgboost", Inputs(rows[:5]), Inputs(rows[:100]), folder / "out"
    )
    session = session_of(conversion)
    loaded = mlflow.pyfunc.load_model(str(folder / "source"))
    expected = loaded.predict(tested)
    answer = session.predict(tested)
    assert answer.dtype == expected.dtype and answer.shape == expected.shape
    close(answer, expected, tolerance)
    if hasattr(model, "predict_proba"):
        probabilities = loaded.get_raw_model().predict_proba(tested)
        close(session.run(tested)["probabilities"], probabilities, tolerance)
    return conversion


def close(answer, expected, tolerance):
    if expected.dtype.kind == "f":
        np.testing.assert_allclose(answer, expected, rtol=tolerance, atol=tolerance)
    else:
        np.testing.assert_array_equal(answer, expected)


@pytest.mark.parametrize("missing", [False, True])
@pytest.mark.parametrize("as_frame", [False, True])
def test_regressors_at_their_thresholds(missing, as_frame, tmp_path):
    values = with_missing(scaled_rows()) if missing else scaled_rows()
    names = ["Age (years)", "id №", "a b", "č"]  # XGBoost itself refuses [, ] and <
    rows = pd.DataFrame(values, columns=names) if as_frame else values
    model = xgboost.XGBRegressor(n_estimators=10, **SMALL).fit(rows, scaled_target(scaled_rows()))
    tested = hostile(model, values)
    right(model, rows, pd.DataFrame(tested, columns=names) if as_frame else tested, tmp_path)


@pytest.mark.parametrize("marker", [-999.0, 0.0])
def test_a_missing_value_of_ones_own(marker, tmp_path):
    rows = scaled_rows()
    target = scaled_target(rows)
    rows[np.random.default_rng(7).random(rows.shape) < 0.15] = marker
    model = xgboost.XGBRegressor(n_estimators=10, missing=marker, **SMALL).fit(rows, target)
    right(model, rows, hostile(model, rows), tmp_path)


@pytest.mark.parametrize("count", [2, 3])
def test_classifiers_at_their_thresholds(count, tmp_path):
    rows = scaled_rows()
    target = np.digitize(scaled_target(rows), [-0.5, 0.8][: count - 1])
    model = xgboost.XGBClassifier(n_estimators=8, **SMALL).fit(rows, target)
    right(model, rows, hostile(model, rows), tmp_path)


def test_classifiers_with_other_answers(tmp_path):
    rows = scaled_rows()
    several = np.c_[scaled_target(rows) > 0, scaled_target(rows) > 1].astype(int)
    hard = xgboost.XGBClassifier(n_estimators=4, objective="multi:softmax", num_class=3, **SMALL)
    right(
        hard.fit(rows, np.digitize(scaled_target(rows), [-0.5, 0.8])),
        rows,
        rows,
        tmp_path / "softmax",
    )
    labels = xgboost.XGBClassifier(n_estimators=4, **SMALL).fit(rows, several)
    right(labels, rows, rows, tmp_path / "several")
    hinge = xgboost.XGBClassifier(n_estimators=4, objective="binary:hinge", **SMALL)
    right(hinge.fit(rows, several[:, 0]), rows, rows, tmp_path / "hinge")


@pytest.mark.parametrize("base", [{}, {"base_score": 0.3}], ids=["estimated", "given"])
@pytest.mark.parametrize(
    "objective",
    [
        {"objective": "reg:squarederror"},
        {"objective": "reg:squaredlogerror"},
        {"objective": "reg:pseudohubererror"},
        {"objective": "reg:absoluteerror"},
        {"objective": "reg:quantileerror", "quantile_alpha": [0.2, 0.7]},
        {"objective": "reg:logistic"},
        {"objective": "binary:logistic"},
        {"objective": "binary:logitraw"},
        {"objective": "binary:hinge"},
        {"objective": "count:poisson"},
        {"objective": "reg:gamma"},
        {"objective": "reg:tweedie"},
        {"objective": "survival:cox"},
        {"objective": "multi:softprob", "num_class": 3},
        {"objective": "multi:softmax", "num_class": 3},
        {"objective": "rank:ndcg"},
    ],
    ids=lambda options: options["objective"],
)
def test_boosters_of_every_objective(objective, base, tmp_path):
    rows = scaled_rows()
    target = np.exp(scaled_target(rows) / 5)
    name = objective["objective"]
    if name.startswith("binary") or name == "reg:logistic":
        target = target > 1
    elif name.startswith(("multi", "rank")):
        target = np.digitize(target, [0.9, 1.1])
    data = xgboost.DMatrix(rows, target)
    if name.startswith("rank"):
        data.set_group([20] * 20)
    model = xgboost.train({"max_depth": 3, "nthread": 1, **objective, **base}, data, 5)
    right(model, rows, hostile(model, rows), tmp_path)


@pytest.mark.parametrize("strategy", ["one_output_per_tree", "multi_output_tree"])
def test_several_targets(strategy, tmp_path):
    rows = scaled_rows()
    target = np.c_[scaled_target(rows), rows[:, 2], -scaled_target(rows) * 2]
    model = xgboost.XGBRegressor(n_estimators=5, multi_strategy=strategy, **SMALL)
    right(model.fit(rows, target), rows, rows, tmp_path)


@pytest.mark.parametrize(
    "options",
    [
        {"booster": "dart", "rate_drop": 0.5, "seed": 1},
        {"booster": "gblinear"},
        {"num_parallel_tree": 4, "subsample": 0.5},
        {"tree_method": "exact"},
        {"grow_policy": "lossguide", "max_leaves": 9, "tree_method": "hist"},
    ],
    ids=lambda options: str(next(iter(options.values()))),
)
def test_ways_of_boosting(options, tmp_path):
    rows = with_missing(scaled_rows())
    if options.get("booster") == "gblinear":  # adds products of 1e12 up in float32
        rows = (rows - SHIFTS) / SCALES
    depth = {} if options.get("booster") == "gblinear" else {"max_depth": 3}
    model = xgboost.train(
        {"nthread": 1, **depth, **options}, xgboost.DMatrix(rows, scaled_target(scaled_rows())), 8
    )
    right(model, rows, rows, tmp_path)


def test_forests(tmp_path):
    rows = scaled_rows()
    regressor = xgboost.XGBRFRegressor(n_estimators=10, **SMALL).fit(rows, scaled_target(rows))
    right(regressor, rows, hostile(regressor, rows), tmp_path / "regressor")
    classifier = xgboost.XGBRFClassifier(n_estimators=10, **SMALL).fit(
        rows, scaled_target(rows) > 0
    )
    right(classifier, rows, hostile(classifier, rows), tmp_path / "classifier")


def test_rankers(tmp_path):
    rows = scaled_rows()
    model = xgboost.XGBRanker(n_estimators=5, **SMALL)
    model.fit(rows, np.digitize(scaled_target(rows), [-1, 0, 1]), group=[20] * 20)
    right(model, rows, hostile(model, rows), tmp_path)


@pytest.mark.parametrize("wrapped", [False, True])
def test_models_that_stopped_early_answer_as_their_own_predict(wrapped, tmp_path):
    rows, other = scaled_rows(), scaled_rows(seed=1)
    noise = np.random.default_rng(2).normal(size=400) * 3
    if wrapped:
        model = xgboost.XGBRegressor(n_estimators=200, early_stopping_rounds=3, **SMALL).fit(
            rows,
            scaled_target(rows) + noise,
            eval_set=[(other, scaled_target(other))],
            verbose=False,
        )
    else:
        model = xgboost.train(
            {"max_depth": 4, "nthread": 1},
            xgboost.DMatrix(rows, scaled_target(rows) + noise),
            200,
            evals=[(xgboost.DMatrix(other, scaled_target(other)), "other")],
            early_stopping_rounds=3,
            verbose_eval=False,
        )
    assert 0 < model.best_iteration < 190
    right(model, rows, hostile(model, rows), tmp_path)


@pytest.mark.parametrize("one_hot", [1, 100])
def test_categorical_splits_on_codes(one_hot, tmp_path):
    generator = np.random.default_rng(0)
    rows = np.c_[
        generator.normal(size=600), generator.integers(0, 12, 600), generator.integers(0, 90, 600)
    ].astype(float)
    rows[::13, 1] = np.nan
    target = rows[:, 0] + np.nan_to_num(rows[:, 1]) % 3 + rows[:, 2] % 7
    model = xgboost.XGBRegressor(
        n_estimators=10,
        tree_method="hist",
        enable_categorical=True,
        feature_types=["q", "c", "c"],
        max_cat_to_onehot=one_hot,
        **SMALL,
    ).fit(rows, target)
    tested = np.repeat(rows, 2, axis=0)
    odd = [*range(12), 89, 90, 1000, -1, -0.5, 0.5, 1.5, 3.9, 2.0**24, 2.0**31, np.nan]
    tested[::2, 1] = generator.choice(odd, 600)
    tested[::2, 2] = generator.choice(odd, 600)
    right(model, rows, tested, tmp_path)


def test_no_tree_and_one_leaf(tmp_path):
    rows = scaled_rows(30)
    model = xgboost.train({}, xgboost.DMatrix(rows, np.arange(30.0)), 0)
    right(model, rows, rows, tmp_path / "none")
    model = xgboost.train({"gamma": 1e9}, xgboost.DMatrix(rows, np.arange(30.0)), 2)
    right(model, rows, rows, tmp_path / "leaf")


@pytest.mark.parametrize("one_hot", [1, 100])
def test_columns_of_categories_are_numbered_as_in_training(one_hot, tmp_path):
    generator = np.random.default_rng(0)
    cities = ["Oslo", "Paris", "Rome", "Bonn", "Lima"]
    frame = pd.DataFrame({"a": generator.normal(size=400)})
    frame["city"] = pd.Categorical(generator.choice(cities, 400), cities)
    frame["grade"] = pd.Categorical(generator.choice(["3", "70", "5", "11"], 400))
    frame.loc[::7, "city"] = None
    target = frame["city"].cat.codes % 2 + frame["grade"].astype(int) % 3 + frame["a"]
    model = xgboost.XGBRegressor(
        n_estimators=10, enable_categorical=True, max_cat_to_onehot=one_hot, **SMALL
    ).fit(frame, target)
    tested = frame.copy()
    tested["city"] = pd.Categorical(tested["city"].astype(object), cities[::-1])
    right(model, frame, tested, tmp_path)


def test_categories_that_xgboost_stores_cut_are_refused_by_name(tmp_path):
    frame = pd.DataFrame({"a": np.arange(40.0)})
    frame["city"] = pd.Categorical(np.where(frame["a"] % 3, "Köln", "Rome"))
    model = xgboost.XGBRegressor(n_estimators=2, enable_categorical=True, **SMALL)
    with pytest.raises(ConversionError, match="city"):
        right(model.fit(frame, frame["a"]), frame, frame, tmp_path)


def test_text_columns_are_refused_by_name(tmp_path):
    frame = pd.DataFrame(scaled_rows(), columns=list("abcd"))
    model = xgboost.XGBRegressor(n_estimators=2, **SMALL).fit(frame, scaled_target(scaled_rows()))
    mlflow.xgboost.save_model(model, str(tmp_path / "numbers"), pip_requirements=[])
    frame["city"] = "Oslo"
    with pytest.raises(ConversionError, match="city"):
        converted(tmp_path / "numbers", "xgboost", Inputs(frame), None, tmp_path / "out")
