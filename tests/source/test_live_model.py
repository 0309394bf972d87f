"""Live models, with rows as users have them: what MLflow's signatures cannot hold is taken too."""

from __future__ import annotations

import lightgbm
import numpy as np
import pandas as pd
import pytest
from sklearn.compose import ColumnTransformer
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

import mlflow_onnx_flavor as onnx_flavor
from mlflow_onnx_flavor import scoring

pytestmark = pytest.mark.process

ROWS = 60


def answers(conversion, rows) -> np.ndarray:
    graph = conversion.graph.model_dump(mode="json")
    return np.asarray(scoring.open_graph(str(conversion.path), graph).predict(rows))


def test_categories_and_missing_integers(tmp_path):
    generator = np.random.default_rng(0)
    rows = pd.DataFrame(
        {
            "country": pd.Categorical(generator.choice(["de", "fr", "us"], ROWS)),
            "age": pd.array(generator.integers(18, 90, ROWS), "Int64"),
        }
    )
    rows.loc[3, "age"] = pd.NA
    columns = ColumnTransformer(
        [
            ("text", OneHotEncoder(handle_unknown="ignore"), ["country"]),
            ("number", SimpleImputer(), ["age"]),
        ]
    )
    labels = rows["country"] == "de"
    model = make_pipeline(columns, LogisticRegression()).fit(rows, labels)
    conversion = onnx_flavor.convert(model, rows, output_dir=tmp_path)
    np.testing.assert_array_equal(answers(conversion, rows), model.predict(rows))


def test_a_series_of_texts(tmp_path):
    texts = pd.Series(["late payment", "all is fine", "call back"] * 20)
    labels = ["bad", "good", "bad"] * 20
    model = make_pipeline(CountVectorizer(), LogisticRegression()).fit(texts, labels)
    conversion = onnx_flavor.convert(model, texts, output_dir=tmp_path)
    np.testing.assert_array_equal(answers(conversion, texts), labels)


def test_columns_named_by_numbers(tmp_path):
    rows = pd.DataFrame(np.random.default_rng(1).normal(size=(ROWS, 3)))
    columns = ColumnTransformer([("scaled", StandardScaler(), [2, 0])])
    model = make_pipeline(columns, LogisticRegression()).fit(rows, rows[0] > rows[2])
    conversion = onnx_flavor.convert(model, rows, output_dir=tmp_path)
    np.testing.assert_array_equal(answers(conversion, rows), model.predict(rows))


def test_lightgbm_on_categories_of_numbers(tmp_path):
    generator = np.random.default_rng(2)
    rows = pd.DataFrame(
        {"zone": generator.integers(0, 7, 300) * 10, "price": generator.normal(size=300)}
    ).astype({"zone": "category"})
    model = lightgbm.LGBMRegressor(n_estimators=5, min_child_samples=5, n_jobs=1, verbose=-1)
    model.fit(rows, rows["zone"].cat.codes % 3 + rows["price"])
    conversion = onnx_flavor.convert(model, rows, output_dir=tmp_path)
    np.testing.assert_allclose(answers(conversion, rows), model.predict(rows), rtol=1e-6)


def test_a_ranker_of_lightgbm(tmp_path):
    rows = pd.DataFrame(np.random.default_rng(3).normal(size=(ROWS, 2)), columns=["a", "b"])
    model = lightgbm.LGBMRanker(n_estimators=5, min_child_samples=5, n_jobs=1, verbose=-1)
    model.fit(rows, (rows["a"] > 0).astype(int), group=[20, 20, 20])
    conversion = onnx_flavor.convert(model, rows, output_dir=tmp_path)
    np.testing.assert_allclose(answers(conversion, rows), model.predict(rows), rtol=1e-6)
