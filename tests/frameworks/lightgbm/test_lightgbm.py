"""LightGBM: every row takes the branch in ONNX that it takes in LightGBM, and answers alike."""

from __future__ import annotations

import lightgbm
import mlflow
import numpy as np
import pandas as pd
import pytest

from mlflow_onnx_flavor.errors import ConversionError
from mlflow_onnx_flavor.inputs import Inputs
from tests.builders import scaled_rows, scaled_target, with_missing
from tests.frameworks.in_process import converted, session_of

QUIET = {"verbose": -1, "min_data_in_leaf": 5, "num_threads": 1}


def hostile(model, rows: np.ndarray) -> np.ndarray:
    """Rows with one value on a threshold or one ulp beside it, near zero, missing or infinite."""
    booster = getattr(model, "booster_", model)
    table = booster.trees_to_dataframe().dropna(subset=["split_feature", "threshold"])
    table = table[table.decision_type == "<="]
    positions = {name: at for at, name in enumerate(booster.feature_name())}
    beside = [
        (positions[each.split_feature], value)
        for each in table.itertuples()
        for at in (float(each.threshold),)
        for value in (at, np.nextafter(at, -np.inf), np.nextafter(at, np.inf))
    ]
    zero = float(np.float32(1e-35))
    odd = [0.0, -0.0, zero, -zero, np.nextafter(zero, 1), -np.nextafter(zero, 1), 1e-40]
    odd += [np.nan, np.inf, -np.inf, 1e300, -1e300]
    beside += [(feature, each) for feature in range(rows.shape[1]) for each in odd]
    changed = rows[np.arange(len(beside)) % len(rows)].copy()
    for at, (feature, value) in enumerate(beside):
        changed[at, feature] = value
    return np.concatenate([rows, changed])


def right(model, rows, tested, folder):
    """Convert on some of ``rows``; every answer on ``tested`` is LightGBM's to the last digits."""
    wrapped = {"serialization_format": "cloudpickle"} if hasattr(model, "get_params") else {}
    mlflow.lightgbm.save_model(model, str(folder / "source"), pip_requirements=[], **wrapped)
    conversion, _ = converted(
        folder / "source", "lightgbm", Inputs(rows[:5]), Inputs(rows[:100]), folder / "out"
    )
    assert conversion.strategy == "trees_float64"
    session = session_of(conversion)
    expected = mlflow.pyfunc.load_model(str(folder / "source")).predict(tested)
    answer = session.predict(tested)
    assert answer.dtype == expected.dtype and answer.shape == expected.shape
    if expected.dtype.kind == "f":
        np.testing.assert_allclose(answer, expected, rtol=1e-12, atol=1e-12)
    else:
        np.testing.assert_array_equal(answer, expected)
    if hasattr(model, "predict_proba"):
        np.testing.assert_allclose(
            session.run(tested)["probabilities"],
            model.predict_proba(tested),
            rtol=1e-12,
            atol=1e-12,
        )
    return conversion


@pytest.mark.parametrize("missing", ["none", "nan", "zero"])
def test_regressors_at_their_thresholds(missing, tmp_path):
    rows = scaled_rows() if missing == "none" else with_missing(scaled_rows())
    if missing == "zero":
        rows[np.random.default_rng(8).random(rows.shape) < 0.2] = 0.0
    model = lightgbm.LGBMRegressor(n_estimators=10, zero_as_missing=missing == "zero", **QUIET).fit(
        rows, scaled_target(rows)
    )
    right(model, rows, hostile(model, rows), tmp_path)


def test_thresholds_around_zero(tmp_path):
    generator = np.random.default_rng(0)
    rows = generator.choice([-1.0, 0.0, 0.0, 1.0, np.nan], (400, 3))
    model = lightgbm.LGBMRegressor(n_estimators=20, **QUIET).fit(
        rows, np.nan_to_num(rows, nan=3.0) @ [1, 2, 4]
    )
    right(model, rows, hostile(model, rows), tmp_path)


@pytest.mark.parametrize("count", [2, 3])
@pytest.mark.parametrize("labels", ["numbers", "texts"])
def test_classifiers_at_their_thresholds(count, labels, tmp_path):
    rows = scaled_rows()
    target = np.digitize(scaled_target(rows), [-0.5, 0.8][: count - 1])
    if labels == "texts":
        target = np.array(["low", "middle", "high"])[target]
    model = lightgbm.LGBMClassifier(n_estimators=8, **QUIET).fit(rows, target)
    right(model, rows, hostile(model, rows), tmp_path)


@pytest.mark.parametrize(
    "options",
    [
        {"objective": "regression_l1"},
        {"objective": "regression", "reg_sqrt": True},
        {"objective": "huber"},
        {"objective": "fair"},
        {"objective": "quantile", "alpha": 0.3},
        {"objective": "mape"},
        {"objective": "poisson"},
        {"objective": "gamma"},
        {"objective": "tweedie"},
        {"objective": "cross_entropy"},
        {"objective": "cross_entropy_lambda"},
        {"objective": "binary", "sigmoid": 0.7},
        {"objective": "multiclass", "num_class": 3},
        {"objective": "multiclassova", "num_class": 3, "sigmoid": 1.3},
        {"boosting": "rf", "bagging_freq": 1, "bagging_fraction": 0.6},
        {"boosting": "rf", "bagging_freq": 1, "bagging_fraction": 0.6, "objective": "binary"},
        {"boosting": "dart"},
        {"boosting": "goss"},
        {"extra_trees": True},
    ],
    ids=lambda options: "-".join(map(str, options.values())),
)
def test_objectives_and_ways_of_boosting(options, tmp_path):
    rows = scaled_rows()
    target = np.exp(scaled_target(rows) / 5)
    objective = options.get("objective", "regression")
    if objective.startswith(("binary", "cross")):
        target = (target > 1).astype(float)
    elif objective.startswith("multi"):
        target = np.digitize(target, [0.9, 1.1])
    model = lightgbm.train({**QUIET, **options}, lightgbm.Dataset(rows, target), 8)
    right(model, rows, hostile(model, rows), tmp_path)


def test_an_objective_of_ones_own_gives_raw_scores(tmp_path):
    rows = scaled_rows()

    def squares(predicted, data):
        return predicted - data.get_label(), np.ones_like(predicted)

    model = lightgbm.train(
        {**QUIET, "objective": squares}, lightgbm.Dataset(rows, scaled_target(rows)), 5
    )
    right(model, rows, hostile(model, rows), tmp_path)


@pytest.mark.parametrize("wrapped", [False, True])
def test_a_model_that_stopped_early_answers_with_its_best_iteration(wrapped, tmp_path):
    rows, other = scaled_rows(), scaled_rows(seed=1)
    noise = np.random.default_rng(2).normal(size=400) * 3
    stop = lightgbm.early_stopping(3, verbose=False)
    if wrapped:
        model = lightgbm.LGBMRegressor(n_estimators=200, **QUIET).fit(
            rows,
            scaled_target(rows) + noise,
            eval_set=[(other, scaled_target(other))],
            callbacks=[stop],
        )
        best = model.best_iteration_
    else:
        data = lightgbm.Dataset(rows, scaled_target(rows) + noise)
        model = lightgbm.train(
            QUIET,
            data,
            200,
            valid_sets=[data.create_valid(other, scaled_target(other))],
            callbacks=[stop],
        )
        best = model.best_iteration
    assert 0 < best < 200
    right(model, rows, hostile(model, rows), tmp_path)


def test_rankers(tmp_path):
    rows = scaled_rows()
    model = lightgbm.LGBMRanker(n_estimators=8, **QUIET).fit(
        rows, np.digitize(scaled_target(rows), [-1, 0, 1]), group=[20] * 20
    )
    right(model, rows, hostile(model, rows), tmp_path)


def test_categorical_splits(tmp_path):
    generator = np.random.default_rng(0)
    rows = np.c_[
        generator.normal(size=600),
        generator.integers(0, 12, 600),
        generator.choice([0, 3, 40, 70, 1000, 100000], 600),
    ].astype(float)
    rows[::13, 1] = np.nan
    target = rows[:, 0] + np.nan_to_num(rows[:, 1]) % 3 + (rows[:, 2] % 7)
    model = lightgbm.train(
        {**QUIET, "cat_smooth": 1, "min_data_per_group": 5, "max_cat_to_onehot": 1},
        lightgbm.Dataset(rows, target, categorical_feature=[1, 2]),
        15,
    )
    tested = np.repeat(rows, 2, axis=0)
    seen = [0, 1, 2, 3, 40, 70, 1000, 100000]
    odd = [*seen, -1, -0.5, 0.5, 1.5, 3.9, 40.999, 71, 1001, 2**31, 2**32 + 3, 1e19, np.nan]
    tested[::2, 1] = generator.choice(odd, 600)
    tested[::2, 2] = generator.choice(odd, 600)
    right(model, rows, tested, tmp_path)


def test_one_leaf_and_no_tree(tmp_path):
    rows = scaled_rows(30)
    for number, target in enumerate([np.full(30, 2.5), np.arange(30.0)]):
        model = lightgbm.LGBMRegressor(n_estimators=3, verbose=-1, min_child_samples=20)
        right(model.fit(rows, target), rows, rows, tmp_path / str(number))


def test_names_of_any_kind_and_columns_of_several_types(tmp_path):
    rows = pd.DataFrame(scaled_rows(), columns=["Zeit (s)", "id-№", "a b", "d"])
    rows["count"] = np.random.default_rng(0).integers(0, 9, 400) + 2**40
    rows["flag"] = rows["a b"] > 0
    rows["small"] = rows["d"].astype(np.float32)
    model = lightgbm.LGBMRegressor(n_estimators=8, **QUIET)
    model.fit(rows, scaled_target(scaled_rows()))
    right(model, rows, rows, tmp_path)


def test_arrays_of_integers_are_rounded_as_lightgbm_rounds_them(tmp_path):
    generator = np.random.default_rng(0)
    rows = generator.integers(2**30, 2**30 + 3000, (400, 2))
    model = lightgbm.LGBMRegressor(n_estimators=8, **QUIET).fit(rows, rows[:, 0] % 1000)
    right(model, rows, rows, tmp_path)


def test_columns_of_categories_are_numbered_as_in_training(tmp_path):
    generator = np.random.default_rng(0)
    cities = ["Oslo", "Köln", "Rome", "Bonn", "Lima"]
    frame = pd.DataFrame({"a": generator.normal(size=400)})
    frame["city"] = pd.Categorical(generator.choice(cities, 400), cities)
    frame["grade"] = pd.Categorical(generator.choice(["3", "70", "5", "11"], 400))
    frame.loc[::7, "city"] = None
    target = frame["city"].cat.codes % 2 + frame["grade"].astype(int) % 3 + frame["a"]
    options = {"cat_smooth": 1, "min_data_per_group": 5}
    model = lightgbm.LGBMRegressor(n_estimators=10, **QUIET, **options).fit(frame, target)
    tested = frame.copy()
    tested["city"] = pd.Categorical(tested["city"].astype(object), [*cities[::-1], "Bern"])
    tested.loc[::5, "city"] = "Bern"  # seen by no tree
    right(model, frame, tested, tmp_path)


@pytest.mark.parametrize(
    "make",
    [
        lambda options: lightgbm.LGBMRegressor(**options),
        lambda options: lightgbm.LGBMRegressor(boosting_type="dart", **options),
        lambda options: lightgbm.LGBMClassifier(**options),
    ],
    ids=["regressor", "dart", "three classes"],
)
def test_linear_models_in_leaves(make, tmp_path):
    rows = np.random.default_rng(6).normal(size=(600, 4))
    rows[:, 3] = np.floor(rows[:, 3] * 2)
    rows[::8, 1] = np.nan
    target = np.nan_to_num(rows[:, 0] * rows[:, 1]) + rows[:, 2] + rows[:, 3]
    model = make({"n_estimators": 6, "linear_tree": True, **QUIET})
    classifies = isinstance(model, lightgbm.LGBMClassifier)
    model.fit(rows[:300], np.digitize(target, [-1, 1])[:300] if classifies else target[:300])
    tested = rows.copy()
    tested[::5, 0], tested[1::7, 2], tested[2::9, 2] = np.nan, np.inf, 1e6
    right(model, rows[:300], tested, tmp_path)


def test_what_has_no_onnx_form_is_refused_with_the_cause(tmp_path):
    rows = scaled_rows()
    frame = pd.DataFrame(rows, columns=list("abcd"))
    model = lightgbm.LGBMRegressor(n_estimators=2, **QUIET).fit(frame, scaled_target(rows))
    mlflow.lightgbm.save_model(
        model,
        str(tmp_path / "numbers"),
        pip_requirements=[],
        serialization_format="cloudpickle",
    )
    frame["city"] = "Oslo"
    with pytest.raises(ConversionError, match="city"):
        converted(tmp_path / "numbers", "lightgbm", Inputs(frame), None, tmp_path / "out")
