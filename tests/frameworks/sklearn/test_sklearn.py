"""scikit-learn models as users have them: each converts, and is right on rows it did not see."""

from __future__ import annotations

import mlflow
import numpy as np
import pandas as pd
import pytest
from sklearn.cluster import KMeans
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import (
    GradientBoostingRegressor,
    HistGradientBoostingClassifier,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LinearRegression, LogisticRegression, RidgeClassifier
from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from sklearn.svm import SVC

from mlflow_onnx_flavor import api
from mlflow_onnx_flavor.errors import ConversionError, UnsupportedModelError
from mlflow_onnx_flavor.inputs import Inputs
from tests.frameworks.in_process import converted, session_of

NUMBERS = list("abcd")


@pytest.fixture(scope="module")
def wide() -> pd.DataFrame:
    """Numbers of several sizes, text, and missing values in both."""
    generator = np.random.default_rng(1)
    rows = pd.DataFrame(generator.normal(size=(300, 4)) * [1, 10, 0.1, 100], columns=NUMBERS)
    rows["city"] = generator.choice(["Oslo", "Rome", "Köln"], 300)
    rows.loc[::17, "a"] = np.nan
    rows.loc[::13, "city"] = None
    return rows


@pytest.fixture(scope="module")
def target(wide) -> np.ndarray:
    """Three classes as text."""
    return np.array(["x", "y", "zz"])[np.digitize(wide["b"] + wide["a"].fillna(0) * 5, [-4, 4])]


def save(model, example, folder, **options):
    mlflow.sklearn.save_model(
        model,
        str(folder),
        signature=mlflow.models.infer_signature(example),
        input_example=example[:3],
        serialization_format="cloudpickle",
        pip_requirements=[],
        **options,
    )
    return folder


def right(model, rows, tmp_path, **options):
    """Convert on the first rows, compare with the source on all; returns the conversion."""
    folder = save(model, rows, tmp_path / "source", **options)
    conversion, _ = converted(
        folder, "sklearn", Inputs(rows[:5]), Inputs(rows[:60]), tmp_path / "out"
    )
    session = session_of(conversion)
    expected = mlflow.pyfunc.load_model(str(folder)).predict(rows)
    answer = session.predict(rows)
    assert type(answer) is type(expected)
    assert answer.dtype == expected.dtype and answer.shape == expected.shape
    if expected.dtype.kind == "f":
        np.testing.assert_allclose(answer, expected, rtol=1e-4, atol=1e-4)
    else:
        assert (answer == expected).mean() > 0.99
    return conversion


@pytest.mark.parametrize(
    "model",
    [
        LogisticRegression(max_iter=500),
        RandomForestClassifier(20, random_state=0),
        HistGradientBoostingClassifier(max_iter=10),
        KNeighborsClassifier(3),
        MLPClassifier((8,), max_iter=50, random_state=0),
        SVC(probability=False),
        RidgeClassifier(),
    ],
    ids=lambda model: type(model).__name__,
)
@pytest.mark.filterwarnings("ignore")
def test_classifiers_with_text_labels(model, wide, target, tmp_path):
    rows = wide[NUMBERS].fillna(0.0)
    right(make_pipeline(StandardScaler(), model).fit(rows, target), rows, tmp_path)


@pytest.mark.parametrize(
    "model",
    [LinearRegression(), RandomForestRegressor(20, random_state=0), GradientBoostingRegressor()],
    ids=lambda model: type(model).__name__,
)
def test_regressors_answer_one_number_a_row(model, wide, tmp_path):
    rows = wide[NUMBERS].fillna(0.0)
    right(model.fit(rows, rows["a"] * 2 + rows["b"]), rows, tmp_path)


def test_several_targets_stay_several_columns(wide, tmp_path):
    rows = wide[NUMBERS].fillna(0.0)
    right(LinearRegression().fit(rows, rows[["b", "a"]] * 2), rows, tmp_path)


def test_clusterers_predict(wide, tmp_path):
    rows = wide[["a", "c"]].fillna(0.0)
    right(KMeans(3, random_state=0, n_init=1).fit(rows), rows, tmp_path)


def test_arrays_without_names_work_as_frames_do(wide, target, tmp_path):
    rows = wide[NUMBERS].fillna(0.0).to_numpy()
    right(LogisticRegression(max_iter=500).fit(rows, target), rows, tmp_path)


def mixed(model):
    numbers = make_pipeline(SimpleImputer(), StandardScaler())
    text = make_pipeline(
        SimpleImputer(strategy="most_frequent"), OneHotEncoder(handle_unknown="ignore")
    )
    return make_pipeline(
        ColumnTransformer([("numbers", numbers, NUMBERS), ("text", text, ["city"])]), model
    )


def test_columns_of_numbers_and_text_with_missing_values(wide, target, tmp_path):
    model = mixed(RandomForestClassifier(30, random_state=0)).fit(wide, target)
    conversion = right(model, wide, tmp_path)
    assert {feed.layout for feed in conversion.graph.feeds} == {"column"}


def test_a_missing_category_of_its_own_is_kept(wide, target, tmp_path):
    encoder = OneHotEncoder(handle_unknown="ignore")
    model = make_pipeline(ColumnTransformer([("city", encoder, ["city"])]), LogisticRegression())
    right(model.fit(wide[["city"]], target), wide[["city"]], tmp_path)


def test_text_goes_through_tfidf(tmp_path):
    texts = pd.DataFrame({"text": ["good day", "bad day", "good night", "bad night"] * 5})
    model = make_pipeline(
        ColumnTransformer([("text", TfidfVectorizer(), "text")]), LogisticRegression()
    )
    right(model.fit(texts, ["up", "down"] * 10), texts, tmp_path)


@pytest.mark.parametrize(
    ("model", "outcome"),
    [
        (RandomForestRegressor(5, random_state=0, bootstrap=False), "failed"),  # known beforehand
        (KNeighborsRegressor(1), "wrong answers"),
    ],
    ids=["forest", "neighbours"],
)
def test_numbers_too_large_for_float32_are_converted_in_float64(model, outcome, tmp_path):
    seconds = 1.7e9 + np.arange(200.0)
    rows = pd.DataFrame({"seconds": seconds})
    scaled = make_pipeline(StandardScaler(), model).fit(rows, np.arange(200.0) % 7)
    conversion = right(scaled, rows, tmp_path)
    assert conversion.strategy.startswith("float64")
    assert conversion.attempts[0].outcome == outcome


def test_predict_proba_as_pyfunc_answers_probabilities(wide, target, tmp_path):
    rows = wide[NUMBERS].fillna(0.0)
    model = LogisticRegression(max_iter=500).fit(rows, target)
    conversion = right(model, rows, tmp_path, pyfunc_predict_fn="predict_proba")
    assert conversion.graph.prediction.parts[0].output == "probabilities"


def test_outputs_have_stable_names(classifier_onnx):
    assert classifier_onnx.output_names == ("label", "probabilities")


def test_a_model_without_a_converter_is_refused_with_every_attempt(wide, target, tmp_path):
    from sklearn.dummy import DummyClassifier

    rows = wide[NUMBERS].fillna(0.0)
    model = DummyClassifier(strategy="uniform").fit(rows, target)
    folder = save(model, rows, tmp_path / "source")
    with pytest.raises(ConversionError, match="a graph draws no random labels") as caught:
        converted(folder, "sklearn", Inputs(rows[:5]), None, tmp_path / "out")
    assert {each.outcome for each in caught.value.attempts} == {"failed"}


def test_a_transformer_alone_answers_with_its_transform(wide, tmp_path):
    rows = wide[NUMBERS].fillna(0.0)
    scaler = StandardScaler().fit(rows)
    folder = save(scaler, rows, tmp_path / "source")
    conversion, _ = converted(folder, "sklearn", Inputs(rows[:5]), Inputs(rows), tmp_path / "out")
    session = session_of(conversion)
    np.testing.assert_allclose(session.predict(rows), scaler.transform(rows), atol=1e-5)


def test_what_neither_predicts_nor_transforms_is_refused_in_one_sentence(wide, tmp_path):
    from sklearn.cluster import DBSCAN

    rows = wide[NUMBERS].fillna(0.0)
    folder = save(DBSCAN().fit(rows), rows, tmp_path / "source")
    with pytest.raises(UnsupportedModelError, match="DBSCAN has no predict or transform method"):
        converted(folder, "sklearn", Inputs(rows[:5]), None, tmp_path / "out")


def test_a_live_model_converts_with_its_inputs(wide, target, tmp_path):
    rows = wide[NUMBERS].fillna(0.0)
    model = LogisticRegression(max_iter=500).fit(rows, target)
    conversion = api.convert(model, rows, output_dir=tmp_path)
    assert conversion.framework == "sklearn" and conversion.path.exists()
