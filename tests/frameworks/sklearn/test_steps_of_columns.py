"""One ColumnTransformer behind another, as `set_output(transform="pandas")` makes useful."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from sklearn.compose import ColumnTransformer, make_column_selector
from sklearn.impute import SimpleImputer
from sklearn.linear_model import Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from mlflow_onnx_flavor.errors import ConversionError
from mlflow_onnx_flavor.inputs import Inputs
from tests.frameworks.in_process import converted, save_estimator, session_of

TEXT = make_column_selector(dtype_include=["str", "object"])
NUMBERS = make_column_selector(dtype_include="number")


@pytest.fixture(scope="module")
def rows() -> pd.DataFrame:
    generator = np.random.default_rng(4)
    frame = pd.DataFrame(generator.normal(size=(200, 3)), columns=["a", "b", "c"])
    frame["city"] = generator.choice(["Oslo", "Rome", "Köln"], 200)
    frame.loc[::7, "a"] = np.nan
    frame.loc[::9, "city"] = None
    return frame


def session(model, rows, folder):
    target = rows["b"] + (rows["city"] == "Oslo") + rows["a"].fillna(0)
    save_estimator(model.fit(rows, target), rows, folder / "source")
    few = Inputs(rows[:5])
    return session_of(converted(folder / "source", "sklearn", few, few, folder / "out")[0])


def filled(**options) -> ColumnTransformer:
    """Numbers and text, both without missing values, side by side."""
    text = SimpleImputer(strategy="constant", fill_value="nowhere")
    parts = [("text", text, ["city"]), ("numbers", SimpleImputer(), ["c", "a", "b"])]
    return ColumnTransformer(parts, **options)


def encoded(text, numbers) -> ColumnTransformer:
    encoder = OneHotEncoder(handle_unknown="ignore", sparse_output=False)
    return ColumnTransformer([("encoded", encoder, text), ("scaled", StandardScaler(), numbers)])


@pytest.mark.parametrize(
    "steps",
    [
        lambda: (filled().set_output(transform="pandas"), encoded(TEXT, NUMBERS)),
        lambda: (
            filled().set_output(transform="pandas"),
            encoded(["text__city"], ["numbers__b", "numbers__a"]),
        ),
        lambda: (
            filled(verbose_feature_names_out=False).set_output(transform="pandas"),
            encoded(["city"], ["b", "a"]),
        ),
        lambda: (filled(), encoded([0], [3, 2])),
    ],
    ids=["selected by type", "by new names", "by old names", "by positions"],
)
def test_text_and_numbers_go_on_side_by_side(steps, rows, tmp_path):
    model = make_pipeline(*steps(), Ridge())
    answer = session(model, rows, tmp_path).predict(rows[["city", "c", "b", "a"]])
    np.testing.assert_allclose(answer, model.predict(rows), rtol=1e-5, atol=1e-5)


def test_columns_that_were_only_renamed(rows, tmp_path):
    chosen = ColumnTransformer([("kept", "passthrough", ["c", "b"])]).set_output(transform="pandas")
    scaled = ColumnTransformer([("b", StandardScaler(), ["kept__b"])], remainder="passthrough")
    model = make_pipeline(chosen, scaled, Ridge())
    answer = session(model, rows, tmp_path).predict(rows)
    np.testing.assert_allclose(answer, model.predict(rows), rtol=1e-5, atol=1e-5)


def test_text_and_numbers_are_no_answer(rows, tmp_path):
    with pytest.raises(ConversionError, match="text and numbers side by side"):
        session(make_pipeline(filled()), rows, tmp_path)
