"""XGBoost and LightGBM: boosters and wrappers answer as their pyfunc does."""

from __future__ import annotations

import lightgbm
import mlflow
import numpy as np
import pandas as pd
import pytest
import xgboost

from mlflow_onnx_flavor.inputs import Inputs
from tests.frameworks.in_process import converted, session_of

COLUMNS = ["Age [years]", "income", "a b", "d"]


@pytest.fixture(scope="module")
def rows() -> pd.DataFrame:
    """Columns with names that converters dislike, and missing values."""
    generator = np.random.default_rng(2)
    frame = pd.DataFrame(generator.normal(size=(200, 4)).astype(np.float32), columns=COLUMNS)
    frame.iloc[::9, 0] = np.nan
    return frame.rename(columns={"Age [years]": "Age (years)"})


@pytest.fixture(scope="module")
def targets(rows) -> dict[str, np.ndarray]:
    score = rows["income"] + rows["a b"] * rows["d"]
    return {
        "two": (score > 0).astype(int).to_numpy(),
        "three": np.digitize(score, [-0.5, 0.5]),
        "number": score.to_numpy(),
    }


def right(module, model, rows, tmp_path, **options):
    folder = tmp_path / "source"
    module.save_model(
        model,
        str(folder),
        signature=mlflow.models.infer_signature(rows),
        input_example=rows[:3],
        pip_requirements=[],
        **options,
    )
    framework = module.__name__.rpartition(".")[2]
    conversion, _ = converted(folder, framework, Inputs(rows[:5]), Inputs(rows), tmp_path / "out")
    expected = mlflow.pyfunc.load_model(str(folder)).predict(rows)
    session = session_of(conversion)
    answer = session.predict(rows)
    assert answer.dtype == expected.dtype and answer.shape == expected.shape
    np.testing.assert_allclose(answer, expected, rtol=2e-4, atol=2e-4)
    return conversion


@pytest.mark.parametrize("kind", ["two", "three"])
def test_xgboost_classifiers(kind, rows, targets, tmp_path):
    model = xgboost.XGBClassifier(n_estimators=10, max_depth=3).fit(rows, targets[kind])
    conversion = right(mlflow.xgboost, model, rows, tmp_path)
    assert conversion.output_names == ("label", "probabilities")


def test_xgboost_regressor(rows, targets, tmp_path):
    model = xgboost.XGBRegressor(n_estimators=10, max_depth=3).fit(rows, targets["number"])
    right(mlflow.xgboost, model, rows, tmp_path)


@pytest.mark.parametrize(
    ("objective", "kind"),
    [
        ({"objective": "binary:logistic"}, "two"),
        ({"objective": "multi:softprob", "num_class": 3}, "three"),
        ({"objective": "reg:squarederror"}, "number"),
    ],
    ids=lambda value: str(value)[:30],
)
def test_xgboost_boosters(objective, kind, rows, targets, tmp_path):
    data = xgboost.DMatrix(rows, targets[kind])
    booster = xgboost.train({"max_depth": 3, **objective}, data, 10)
    right(mlflow.xgboost, booster, rows, tmp_path)


@pytest.mark.parametrize("kind", ["two", "three"])
def test_lightgbm_classifiers(kind, rows, targets, tmp_path):
    model = lightgbm.LGBMClassifier(n_estimators=10, verbose=-1).fit(rows, targets[kind])
    right(mlflow.lightgbm, model, rows, tmp_path, serialization_format="cloudpickle")


def test_lightgbm_regressor(rows, targets, tmp_path):
    model = lightgbm.LGBMRegressor(n_estimators=10, verbose=-1).fit(rows, targets["number"])
    right(mlflow.lightgbm, model, rows, tmp_path, serialization_format="cloudpickle")


@pytest.mark.parametrize(
    ("objective", "kind"),
    [
        ({"objective": "binary"}, "two"),
        ({"objective": "multiclass", "num_class": 3}, "three"),
        ({"objective": "regression"}, "number"),
    ],
    ids=lambda value: str(value)[:30],
)
def test_lightgbm_boosters(objective, kind, rows, targets, tmp_path):
    data = lightgbm.Dataset(rows, targets[kind])
    booster = lightgbm.train({"verbose": -1, **objective}, data, 10)
    right(mlflow.lightgbm, booster, rows, tmp_path)
