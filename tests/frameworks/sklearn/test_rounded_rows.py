"""Trees behind steps that compute: whole numbers lie on thresholds, and stay on their side."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import xgboost
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import GradientBoostingClassifier, RandomForestClassifier, VotingClassifier
from sklearn.feature_selection import SelectKBest
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler, StandardScaler

from mlflow_onnx_flavor.inputs import Inputs
from tests.frameworks.in_process import converted, save_estimator, session_of


@pytest.fixture(scope="module")
def rows() -> pd.DataFrame:
    """Whole numbers and prices; the training rows leave some of them out."""
    generator = np.random.default_rng(7)
    frame = pd.DataFrame(generator.integers(18, 90, (900, 2)), columns=["age", "days"])
    return frame.assign(price=generator.integers(100, 900, 900) / 10)


def labels(rows: pd.DataFrame) -> np.ndarray:
    noise = np.random.default_rng(8).normal(size=len(rows)) * 30
    return (rows["age"] + rows["days"] + rows["price"] + noise > 150).to_numpy().astype(int)


def conversion_of(model, rows, folder):
    save_estimator(model, rows, folder / "source")
    few = Inputs(rows[:5])
    return converted(folder / "source", "sklearn", few, few, folder / "out")[0]


def forest():
    return RandomForestClassifier(10, random_state=0)


@pytest.mark.parametrize(
    "make",
    [
        lambda: make_pipeline(StandardScaler(), forest()),
        lambda: make_pipeline(
            ColumnTransformer([("scaled", MinMaxScaler(), ["price", "age"])]),
            SelectKBest(k=2),
            GradientBoostingClassifier(n_estimators=10),
        ),
        lambda: make_pipeline(StandardScaler(), xgboost.XGBClassifier(n_estimators=10, n_jobs=1)),
        lambda: VotingClassifier(
            [("a", make_pipeline(StandardScaler(), forest())), ("b", LogisticRegression())],
            voting="soft",
        ),
    ],
    ids=["forest", "boosting", "xgboost", "vote"],
)
def test_rows_on_a_threshold_stay_on_their_side(make, rows, tmp_path):
    training = rows[:200]
    model = make().fit(training, labels(training))
    conversion = conversion_of(model, training, tmp_path)
    session = session_of(conversion)
    np.testing.assert_array_equal(session.predict(rows), model.predict(rows))
    found = session.run(rows)["probabilities"]
    np.testing.assert_allclose(found, model.predict_proba(rows), rtol=1e-5, atol=1e-6)
    refused = [each for each in conversion.attempts if each.outcome == "failed"]
    assert refused and all("compares what was computed" in each.cause for each in refused)


def test_rows_that_were_only_moved_stay_float32(rows, tmp_path):
    columns = ColumnTransformer([("filled", SimpleImputer(), ["price", "age", "days"])])
    model = make_pipeline(columns, SelectKBest(k=2), forest()).fit(rows, labels(rows))
    assert conversion_of(model, rows, tmp_path).strategy == "float32_matrix"


def test_a_source_that_computes_in_float32_is_converted_in_float32(rows, tmp_path):
    training = rows.to_numpy(np.float32)
    model = make_pipeline(StandardScaler(), forest()).fit(training[:200], labels(rows)[:200])
    conversion = conversion_of(model, training, tmp_path)
    assert conversion.strategy == "float32_matrix"
    np.testing.assert_array_equal(session_of(conversion).predict(training), model.predict(training))
