"""Data frames as users have them, through real pipelines: predict and predict_proba both agree."""

from __future__ import annotations

import shutil
import warnings

import mlflow
import numpy as np
import pandas as pd
import pytest
from sklearn.compose import ColumnTransformer, make_column_selector, make_column_transformer
from sklearn.ensemble import GradientBoostingClassifier
from sklearn.feature_extraction.text import CountVectorizer, HashingVectorizer, TfidfVectorizer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.pipeline import FeatureUnion, Pipeline, make_pipeline
from sklearn.preprocessing import (
    FunctionTransformer,
    OneHotEncoder,
    OrdinalEncoder,
    StandardScaler,
    TargetEncoder,
)

from mlflow_onnx_flavor.errors import ConversionError
from mlflow_onnx_flavor.inputs import Inputs
from tests.frameworks.in_process import converted, session_of

NUMBERS = ["bill length (mm)", "bill depth (mm)", "body mass (g)"]
TEXT = ["island", "sex"]


@pytest.fixture(scope="module")
def penguins() -> pd.DataFrame:
    """Measurements of several sizes, text, and missing values in both."""
    generator = np.random.default_rng(3)
    size = 240
    rows = pd.DataFrame(
        {
            "island": generator.choice(["Biscoe", "Dream", "Torgersen"], size),
            NUMBERS[0]: generator.normal(44, 5, size).round(1),
            NUMBERS[1]: generator.normal(17, 2, size).round(1),
            NUMBERS[2]: generator.normal(4200, 800, size).round(0),
            "sex": generator.choice(["female", "male"], size),
            "year": generator.integers(2007, 2010, size),
        }
    )
    rows.loc[::11, NUMBERS[0]] = np.nan
    rows.loc[::17, NUMBERS[2]] = np.nan
    rows.loc[::13, "sex"] = None
    return rows


@pytest.fixture(scope="module")
def species(penguins) -> np.ndarray:
    score = penguins[NUMBERS[0]].fillna(44) + 4 * (penguins["island"] == "Dream")
    return np.array(["Adelie", "Chinstrap", "Gentoo"])[np.digitize(score, [42, 47])]


@pytest.fixture
def score(tmp_path):
    """Convert a fitted model on the first rows; returns how the ONNX model answers."""

    def convert(model, rows, example=None, **options):
        example = rows if example is None else example
        shutil.rmtree(tmp_path / "source", ignore_errors=True)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # MLflow's hints about integers and missing values
            signature = mlflow.models.infer_signature(example)
            mlflow.sklearn.save_model(
                model,
                str(tmp_path / "source"),
                signature=signature,
                serialization_format="cloudpickle",
                pip_requirements=[],
                **options,
            )
        conversion, _ = converted(
            tmp_path / "source",
            "sklearn",
            Inputs(example[:5]),
            Inputs(example[:60]),
            tmp_path / "out",
        )
        return session_of(conversion)

    return convert


def agrees(session, model, rows):
    """predict, and predict_proba where there is one, on ``rows``."""
    answered = session.run(rows)
    predicted = model.predict(rows)
    if not hasattr(model, "predict_proba"):
        np.testing.assert_allclose(answered["prediction"], predicted, rtol=1e-4, atol=1e-4)
        return
    assert (np.asarray(answered["label"]) == predicted).all()
    np.testing.assert_allclose(
        answered["probabilities"], model.predict_proba(rows), rtol=1e-4, atol=1e-5
    )


def prepared(model, numbers=NUMBERS, text=TEXT):
    return make_pipeline(
        ColumnTransformer(
            [
                ("numbers", make_pipeline(SimpleImputer(), StandardScaler()), numbers),
                (
                    "text",
                    make_pipeline(
                        SimpleImputer(strategy="most_frequent"),
                        OneHotEncoder(handle_unknown="ignore"),
                    ),
                    text,
                ),
            ]
        ),
        model,
    )


@pytest.mark.parametrize(
    "final",
    [LogisticRegression(max_iter=500), GradientBoostingClassifier(n_estimators=10)],
    ids=lambda model: type(model).__name__,
)
def test_numbers_and_text_with_missing_values_and_unseen_categories(
    final, penguins, species, score
):
    model = prepared(final).fit(penguins, species)
    unseen = penguins.assign(island=penguins["island"].replace("Dream", "Dunedin"))
    session = score(model, penguins)
    agrees(session, model, penguins)
    agrees(session, model, unseen)


def test_columns_come_in_any_order_among_others(penguins, species, score):
    model = prepared(LogisticRegression(max_iter=500)).fit(penguins, species)
    session = score(model, penguins)
    others = penguins[penguins.columns[::-1]].assign(note="x", when=pd.Timestamp("2020-01-01"))
    agrees(session, model, others)


@pytest.mark.parametrize("order", [[1, 0], [2, 0, 1], [-1, 0], slice(0, 2)], ids=str)
def test_columns_are_picked_by_position_in_the_order_asked_for(order, penguins, score):
    rows = penguins[NUMBERS].fillna(1.0)
    model = make_pipeline(
        ColumnTransformer([("some", "passthrough", order)]), LinearRegression()
    ).fit(rows, rows[NUMBERS[0]] * 2 + rows[NUMBERS[1]])
    agrees(score(model, rows), model, rows)


def test_two_columns_are_picked_in_the_other_order_from_an_array(score):
    rows = np.random.default_rng(0).normal(size=(80, 2)) * [1, 10]
    inner = ColumnTransformer([("some", StandardScaler(), [1, 0])])
    model = make_pipeline(inner, LinearRegression()).fit(rows, rows[:, 0] - 3 * rows[:, 1])
    agrees(score(model, rows), model, rows)


def test_columns_are_picked_by_selectors_and_masks(penguins, species, score):
    model = make_pipeline(
        make_column_transformer(
            (
                make_pipeline(SimpleImputer(), StandardScaler()),
                make_column_selector(dtype_include="number"),
            ),
            (OneHotEncoder(), lambda frame: ["island"]),
            (OrdinalEncoder(encoded_missing_value=-1), [False] * 4 + [True, False]),
        ),
        LogisticRegression(max_iter=500),
    ).fit(penguins, species)
    agrees(score(model, penguins), model, penguins)


def test_remainder_weights_and_dropped_columns(penguins, species, score):
    rows = penguins.fillna(dict.fromkeys(NUMBERS, 1.0))
    model = make_pipeline(
        ColumnTransformer(
            [
                ("scaled", StandardScaler(), NUMBERS[:2]),
                ("text", OneHotEncoder(), TEXT),
                ("gone", "drop", ["year"]),
            ],
            remainder=StandardScaler(),
            transformer_weights={"scaled": 3.0},
        ),
        LogisticRegression(max_iter=500),
    ).fit(rows, species)
    agrees(score(model, rows), model, rows)


def test_frames_between_the_steps(penguins, species, score):
    inner = ColumnTransformer(
        [
            ("numbers", SimpleImputer(add_indicator=True), NUMBERS),
            ("text", OneHotEncoder(sparse_output=False), TEXT),
        ]
    )
    second = ColumnTransformer(
        [("scaled", StandardScaler(), make_column_selector("numbers"))], remainder="passthrough"
    )
    model = make_pipeline(inner, second, LogisticRegression(max_iter=500))
    model.set_output(transform="pandas").fit(penguins, species)
    agrees(score(model, penguins), model, penguins)


@pytest.mark.parametrize("dtype", ["object", "str", "category"])
def test_text_of_every_pandas_dtype_with_missing_values(dtype, penguins, species, score):
    rows = penguins.astype(dict.fromkeys(TEXT, dtype))
    model = prepared(LogisticRegression(max_iter=500)).fit(rows, species)
    session = score(model, rows)
    agrees(session, model, rows)


def test_text_whose_missing_values_are_na(penguins, species, score):
    rows = penguins[TEXT].astype("string")
    model = make_pipeline(
        SimpleImputer(missing_values=pd.NA, strategy="constant", fill_value="none"),
        OneHotEncoder(handle_unknown="ignore"),
        LogisticRegression(),
    ).fit(rows, species)
    agrees(score(model, rows), model, rows)


def test_categories_with_missing_values(penguins, species, score):
    rows = penguins[TEXT].astype("category")
    model = make_pipeline(OneHotEncoder(handle_unknown="ignore"), LogisticRegression())
    model.fit(rows, species)
    session = score(model, rows)
    agrees(session, model, rows)


def test_categories_of_numbers_with_missing_values(penguins, species, score):
    year = penguins["year"].astype("float64")
    year[::9] = np.nan
    rows = pd.DataFrame({"year": pd.Categorical(year.astype("Int64"))})
    model = make_pipeline(OneHotEncoder(handle_unknown="ignore"), LogisticRegression())
    model.fit(rows, species)
    agrees(score(model, rows), model, rows)


def test_nullable_integers_and_booleans_with_missing_values(penguins, species, score):
    rows = pd.DataFrame(
        {
            "year": penguins["year"].astype("Int64"),
            "heavy": (penguins[NUMBERS[2]] > 4000).astype("boolean"),
            "mass": penguins[NUMBERS[2]],
        }
    )
    rows.loc[::7, "year"] = pd.NA
    rows.loc[::5, "heavy"] = pd.NA
    model = make_pipeline(
        SimpleImputer(strategy="median"), StandardScaler(), LogisticRegression(max_iter=500)
    ).fit(rows, species)
    agrees(score(model, rows), model, rows)


@pytest.mark.parametrize("kind", ["continuous", "binary", "multiclass"])
def test_target_encoding_of_known_unknown_and_missing_categories(kind, penguins, species, score):
    targets = {
        "continuous": penguins[NUMBERS[1]].to_numpy(),
        "binary": np.where(species == "Adelie", "yes", "no"),
        "multiclass": species,
    }
    final = LinearRegression() if kind == "continuous" else LogisticRegression()
    model = make_pipeline(TargetEncoder(target_type=kind, random_state=0), final)
    model.fit(penguins[TEXT], targets[kind])
    session = score(model, penguins[TEXT])
    agrees(session, model, penguins[TEXT])
    agrees(session, model, penguins[TEXT].assign(island="Dunedin"))


@pytest.mark.parametrize(
    "encoder",
    [
        OneHotEncoder(drop="first", handle_unknown="ignore"),
        OneHotEncoder(drop="if_binary", handle_unknown="ignore"),
        OneHotEncoder(min_frequency=90, handle_unknown="infrequent_if_exist"),
        OneHotEncoder(max_categories=2, handle_unknown="infrequent_if_exist"),
        OrdinalEncoder(
            handle_unknown="use_encoded_value", unknown_value=-1, encoded_missing_value=-2
        ),
        OrdinalEncoder(max_categories=2, encoded_missing_value=9),
    ],
    ids=str,
)
def test_encoders_with_dropped_infrequent_and_unknown_categories(encoder, penguins, species, score):
    rows = penguins[["island", "sex"]]
    model = make_pipeline(encoder, LogisticRegression()).fit(rows, species)
    session = score(model, rows)
    agrees(session, model, rows)
    if encoder.handle_unknown != "error":
        agrees(session, model, rows.assign(island="Dunedin"))


def test_an_unknown_category_raises_where_scikit_learn_raises(penguins, species, score):
    model = make_pipeline(OneHotEncoder(), LogisticRegression()).fit(penguins[["island"]], species)
    session = score(model, penguins[["island"]])
    with pytest.raises(Exception, match="out of data bounds|indices"):
        session.run(penguins[["island"]].assign(island="Dunedin"))


@pytest.fixture(scope="module")
def reviews() -> pd.DataFrame:
    texts = [
        "It's a GOOD day, isn't it?",
        "Bad day",
        "",
        "naïve café — très bon!",
        "Das ist GROẞ, die Straße",
        "日本語 テキスト",
        "good good night",
        "a b c",
        "snake_case 3.14 tabs\tand\nlines",
        "ΑΒΓ and αβγ",
    ]
    stars = np.random.default_rng(0).integers(1, 6, 60)
    return pd.DataFrame({"text": texts * 6, "stars": stars})


@pytest.mark.parametrize(
    "vectorizer",
    [
        TfidfVectorizer(),
        TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True, stop_words="english"),
        TfidfVectorizer(analyzer="char", ngram_range=(1, 3)),
        TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 4)),
        CountVectorizer(binary=True, lowercase=False, token_pattern=r"\w+"),
        CountVectorizer(vocabulary=["good", "bad", "good night"], ngram_range=(1, 2)),
        HashingVectorizer(n_features=256, ngram_range=(1, 2)),
    ],
    ids=str,
)
def test_text_columns_beside_numbers(vectorizer, reviews, score):
    model = make_pipeline(
        make_column_transformer((vectorizer, "text"), (StandardScaler(), ["stars"])),
        LogisticRegression(max_iter=500),
    ).fit(reviews, ["up", "down", "up"] * 20)
    agrees(score(model, reviews), model, reviews)


def test_several_views_of_one_text(reviews, score):
    union = FeatureUnion(
        [("words", TfidfVectorizer()), ("letters", CountVectorizer(analyzer="char"))]
    )
    model = Pipeline(
        [
            ("text", ColumnTransformer([("views", union, "text")])),
            ("model", LogisticRegression(max_iter=500)),
        ]
    ).fit(reviews, ["up", "down", "up"] * 20)
    agrees(score(model, reviews), model, reviews)


@pytest.mark.parametrize("last", ["ΟΔΟΣ", "İstanbul"])
def test_text_that_onnx_lowers_otherwise_raises(last, reviews, score):
    model = make_pipeline(
        ColumnTransformer([("text", TfidfVectorizer(), "text")]), LogisticRegression()
    ).fit(reviews[["text"]], ["up", "down", "up"] * 20)
    session = score(model, reviews[["text"]])
    with pytest.raises(Exception, match="out of data bounds|indices"):
        session.run(pd.DataFrame({"text": [last]}))


def upper(text):
    return text.upper()


@pytest.mark.parametrize(
    ("vectorizer", "cause"),
    [
        (
            HashingVectorizer(n_features=16, analyzer="char_wb"),
            "analyzer='char_wb'.*TfidfVectorizer",
        ),
        (HashingVectorizer(n_features=2**21), "no sparse rows; use at most 1048576"),
        (TfidfVectorizer(preprocessor=upper), "preprocessor upper, a Python function"),
        (TfidfVectorizer(strip_accents="unicode"), "strip_accents='unicode'"),
        (TfidfVectorizer(token_pattern=r"a|ab|\d+"), "token_pattern .* has no ONNX form"),
    ],
    ids=lambda each: type(each).__name__ if hasattr(each, "fit") else each,
)
def test_text_features_without_an_onnx_form_are_refused_by_name(vectorizer, cause, reviews, score):
    model = make_pipeline(
        ColumnTransformer([("text", vectorizer, "text")]), LogisticRegression()
    ).fit(reviews.assign(text=reviews["text"] + " ab 1"), ["up", "down", "up"] * 20)
    with pytest.raises(ConversionError, match=cause):
        score(model, reviews)


def test_empty_and_missing_texts_that_onnx_cannot_tell_apart_are_refused(penguins, species, score):
    rows = penguins[["sex"]].astype(object)
    rows.loc[::4, "sex"] = ""
    encoder = OneHotEncoder(handle_unknown="ignore")
    for steps, cause in (
        ((encoder,), "both missing values and empty texts"),
        ((SimpleImputer(strategy="most_frequent"), encoder), "empty text as a category behind"),
    ):
        model = make_pipeline(*steps, LogisticRegression())
        with pytest.raises(ConversionError, match=cause):
            score(model.fit(rows, species), rows)


def hours(frame):
    return pd.DataFrame({"hour": frame.iloc[:, 0].dt.hour})


def test_dates_are_refused_by_column(penguins, species, score):
    rows = penguins[["island"]].assign(seen=pd.date_range("2020-01-01", periods=240, freq="h"))
    model = make_pipeline(
        make_column_transformer(
            (FunctionTransformer(hours), ["seen"]), (OneHotEncoder(), ["island"])
        ),
        LogisticRegression(),
    ).fit(rows, species)
    with pytest.raises(ConversionError, match="'seen' holds dates.*seconds since the epoch"):
        score(model, rows)


def test_dates_that_the_model_does_not_use_are_no_input(penguins, species, score):
    rows = penguins[["island"]].assign(seen=pd.date_range("2020-01-01", periods=240, freq="h"))
    model = make_pipeline(
        make_column_transformer((OneHotEncoder(), ["island"])), LogisticRegression()
    ).fit(rows, species)
    agrees(score(model, rows), model, rows)
