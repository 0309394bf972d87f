"""XGBoost, LightGBM and CatBoost as steps of scikit-learn pipelines: as exact as by themselves."""

from __future__ import annotations

import catboost
import lightgbm
import mlflow
import numpy as np
import onnx
import pandas as pd
import pytest
import xgboost
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import HistGradientBoostingClassifier, StackingClassifier
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from mlflow_onnx_flavor.inputs import Inputs
from tests.frameworks.in_process import converted, save_estimator, session_of

SCALES, SHIFTS = np.array([1e5, 1e10, 1.0, 1e-3]), np.array([1.7e9, 1e12, 0.0, 0.0])
NUMBERS = ["seen at", "id", "amount", "small"]
QUIET = {"verbose": -1, "min_child_samples": 5, "n_jobs": 1}
STILL = {"verbose": 0, "allow_writing_files": False, "iterations": 8, "thread_count": 1}


@pytest.fixture(scope="module")
def rows() -> pd.DataFrame:
    generator = np.random.default_rng(0)
    frame = pd.DataFrame(generator.normal(size=(400, 4)) * SCALES + SHIFTS, columns=NUMBERS)
    frame["city"] = generator.choice(["Oslo", "Rome", "Köln"], 400)
    frame.loc[::9, "amount"] = np.nan
    return frame


def unit(rows: pd.DataFrame) -> np.ndarray:
    return np.nan_to_num((rows[NUMBERS].to_numpy() - SHIFTS) / SCALES)


def score(rows: pd.DataFrame) -> np.ndarray:
    return unit(rows)[:, 0] + unit(rows)[:, 1] * unit(rows)[:, 2] + (rows["city"] == "Oslo")


def right(model, rows, folder):
    save_estimator(model, rows, folder / "source")
    conversion, _ = converted(
        folder / "source", "sklearn", Inputs(rows[:5]), Inputs(rows[:100]), folder / "out"
    )
    session = session_of(conversion)
    expected = mlflow.pyfunc.load_model(str(folder / "source")).predict(rows)
    answer = session.predict(rows)
    assert answer.dtype == expected.dtype and answer.shape == expected.shape
    if expected.dtype.kind == "f":
        np.testing.assert_allclose(answer, expected, rtol=1e-5, atol=1e-5)
    else:
        np.testing.assert_array_equal(answer, expected)
    return conversion


CLASSIFIERS = {
    "xgboost": lambda: xgboost.XGBClassifier(n_estimators=8, max_depth=4, n_jobs=1),
    "xgboost forest": lambda: xgboost.XGBRFClassifier(n_estimators=8, max_depth=4, n_jobs=1),
    "lightgbm": lambda: lightgbm.LGBMClassifier(n_estimators=8, **QUIET),
    "catboost": lambda: catboost.CatBoostClassifier(**STILL),
}
REGRESSORS = {
    "xgboost": lambda: xgboost.XGBRegressor(n_estimators=8, max_depth=4, n_jobs=1),
    "xgboost forest": lambda: xgboost.XGBRFRegressor(n_estimators=8, max_depth=4, n_jobs=1),
    "lightgbm": lambda: lightgbm.LGBMRegressor(n_estimators=8, **QUIET),
    "catboost": lambda: catboost.CatBoostRegressor(**STILL),
}


@pytest.mark.parametrize("count", [2, 3])
@pytest.mark.parametrize("name", CLASSIFIERS)
def test_classifiers_behind_a_scaler(name, count, rows, tmp_path):
    target = np.digitize(score(rows), [-0.5, 0.8][: count - 1])
    model = make_pipeline(StandardScaler(), CLASSIFIERS[name]()).fit(rows[NUMBERS], target)
    right(model, rows[NUMBERS], tmp_path)


@pytest.mark.parametrize("name", REGRESSORS)
def test_regressors_behind_columns_of_numbers_and_text(name, rows, tmp_path):
    encoder = OneHotEncoder(handle_unknown="ignore", sparse_output=False)
    columns = ColumnTransformer(
        [("numbers", SimpleImputer(), NUMBERS), ("text", encoder, ["city"])]
    )
    model = make_pipeline(columns, REGRESSORS[name]()).fit(rows, score(rows))
    right(model, rows, tmp_path)


@pytest.mark.parametrize("name", ["xgboost", "catboost"])
def test_several_targets(name, rows, tmp_path):
    regressor = REGRESSORS[name]()
    if name == "catboost":
        regressor.set_params(loss_function="MultiRMSE")
    target = np.c_[score(rows), -score(rows), unit(rows)[:, 2]]
    model = make_pipeline(SimpleImputer(), regressor).fit(rows[NUMBERS], target)
    conversion = right(model, rows[NUMBERS], tmp_path)
    declared = onnx.load(conversion.path).graph.output[0].type.tensor_type.shape.dim
    assert declared[1].dim_value == 3


@pytest.mark.parametrize("name", ["lightgbm", "catboost"])
def test_text_labels(name, rows, tmp_path):
    target = np.array(["low", "high"])[(score(rows) > 0).astype(int)]
    model = make_pipeline(SimpleImputer(), CLASSIFIERS[name]()).fit(rows[NUMBERS], target)
    right(model, rows[NUMBERS], tmp_path)


def test_missing_values_reach_the_trees(rows, tmp_path):
    model = make_pipeline(StandardScaler(), REGRESSORS["lightgbm"]())
    conversion = right(model.fit(rows[NUMBERS], score(rows)), rows[NUMBERS], tmp_path)
    assert conversion.strategy.startswith("float64")


def test_rows_that_were_rounded_are_refused_by_what_compares_in_float64(rows, tmp_path):
    model = make_pipeline(StandardScaler(), CLASSIFIERS["lightgbm"]())
    conversion = right(model.fit(rows[NUMBERS], score(rows) > 0), rows[NUMBERS], tmp_path)
    refused = [each for each in conversion.attempts if each.outcome == "failed"]
    assert refused and all("compares in float64" in each.cause for each in refused)


def test_ensembles_of_boosters(rows, tmp_path):
    members = [
        ("xgboost", CLASSIFIERS["xgboost"]()),
        ("lightgbm", CLASSIFIERS["lightgbm"]()),
        ("histogram", HistGradientBoostingClassifier(max_iter=5)),
    ]
    target = (score(rows) > 0).astype(int)
    stacked = StackingClassifier(members, LogisticRegression(), cv=2).fit(rows[NUMBERS], target)
    right(stacked, rows[NUMBERS], tmp_path / "stacked")
    calibrated = CalibratedClassifierCV(CLASSIFIERS["xgboost"](), cv=2).fit(rows[NUMBERS], target)
    right(calibrated, rows[NUMBERS], tmp_path / "calibrated")
