"""Generated column transformers over a mixed frame: each converts and is right on unseen rows."""

from __future__ import annotations

import warnings

import numpy as np
import onnxruntime
import pandas as pd
import skl2onnx
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sklearn.compose import ColumnTransformer
from sklearn.decomposition import PCA
from sklearn.feature_extraction.text import CountVectorizer, TfidfVectorizer
from sklearn.feature_selection import SelectKBest, VarianceThreshold
from sklearn.impute import SimpleImputer
from sklearn.pipeline import FeatureUnion, Pipeline, make_pipeline
from sklearn.preprocessing import (
    FunctionTransformer,
    KBinsDiscretizer,
    MinMaxScaler,
    OneHotEncoder,
    OrdinalEncoder,
    PolynomialFeatures,
    PowerTransformer,
    QuantileTransformer,
    RobustScaler,
    SplineTransformer,
    StandardScaler,
    TargetEncoder,
)

from mlflow_onnx_flavor.frameworks.sklearn import converters
from mlflow_onnx_flavor.frameworks.sklearn.framework import target_opset
from mlflow_onnx_flavor.frameworks.tabular import column_feeds, skl2onnx_types
from mlflow_onnx_flavor.onnx_graph.edit import save
from mlflow_onnx_flavor.scoring.feeds import Feeder

NUMBERS, WORDS, TEXT = ["age", "income (€)", "rate", "stars"], ["city", "job"], "review"

SCALERS = [
    StandardScaler,
    MinMaxScaler,
    RobustScaler,
    lambda: PowerTransformer(),
    lambda: QuantileTransformer(n_quantiles=20),
    lambda: SplineTransformer(3, extrapolation="linear"),
    lambda: KBinsDiscretizer(3, encode="ordinal", strategy="uniform"),
    lambda: PolynomialFeatures(2, include_bias=False),
    lambda: FunctionTransformer(np.square),
    lambda: PCA(1),
    lambda: SelectKBest(k=1),
    lambda: VarianceThreshold(),
    lambda: FeatureUnion([("scaled", StandardScaler()), ("as it is", "passthrough")]),
    lambda: "passthrough",
]
IMPUTERS = [
    SimpleImputer,
    lambda: SimpleImputer(strategy="most_frequent", add_indicator=True),
    lambda: SimpleImputer(strategy="constant", fill_value=-1),
]
ENCODERS = [
    lambda: OneHotEncoder(handle_unknown="ignore"),
    lambda: OneHotEncoder(handle_unknown="infrequent_if_exist", min_frequency=20, drop="first"),
    lambda: OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1),
    lambda: TargetEncoder(target_type="continuous", random_state=0),
    lambda: make_pipeline(
        SimpleImputer(strategy="most_frequent"), OneHotEncoder(handle_unknown="ignore")
    ),
]
VECTORIZERS = [
    TfidfVectorizer,
    lambda: CountVectorizer(ngram_range=(1, 2), binary=True),
    lambda: TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 3)),
]


def some(columns):
    """One or more of ``columns``, each once, in any order."""
    return st.lists(st.sampled_from(columns), min_size=1, max_size=len(columns), unique=True)


@st.composite
def transformers(draw):
    """A ColumnTransformer over any of the columns."""
    parts = []
    for number in range(draw(st.integers(1, 3))):
        kind = draw(st.sampled_from(["numbers", "words", "text"]))
        if kind == "numbers":
            steps = [draw(st.sampled_from(IMPUTERS))(), draw(st.sampled_from(SCALERS))()]
            parts.append((str(number), make_pipeline(*steps), draw(some(NUMBERS))))
        elif kind == "words":
            parts.append((str(number), draw(st.sampled_from(ENCODERS))(), draw(some(WORDS))))
        else:
            parts.append((str(number), draw(st.sampled_from(VECTORIZERS))(), TEXT))
    weights = draw(st.sampled_from([None, {"0": 2.0}]))
    return ColumnTransformer(parts, transformer_weights=weights, sparse_threshold=0)


def frame(seed: int, size: int) -> pd.DataFrame:
    generator = np.random.default_rng(seed)
    rows = pd.DataFrame(
        {
            "city": generator.choice(["Oslo", "Rome", "Köln"], size),
            "age": generator.integers(18, 90, size),
            "income (€)": generator.lognormal(10, 1, size),
            "review": generator.choice(["a Good day", "bad, BAD day!", "très bon", ""], size),
            "rate": generator.normal(size=size),
            "job": generator.choice(["baker", "pilot"], size),
            "stars": pd.array(generator.integers(1, 6, size), dtype="Int64"),
        }
    )
    for number, name in enumerate(["income (€)", "rate", "stars", "city"]):
        rows.loc[generator.random(size) < 0.1 * (number + 1) / 2, name] = np.nan
    return rows


TRAINING, UNSEEN = frame(0, 120), frame(1, 40)
UNSEEN.loc[3, "city"] = "Dunedin"
TARGET = TRAINING["age"].to_numpy() + TRAINING["rate"].fillna(0).to_numpy()


@settings(
    max_examples=40,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(transformer=transformers())
def test_any_column_transformer(transformer, tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        transformer.fit(TRAINING, TARGET)
        expected = np.asarray(transformer.transform(UNSEEN), np.float64)
    converters.register_all()
    feeds = column_feeds(TRAINING, "float64", keep_integers=False)
    exported = skl2onnx.to_onnx(
        Pipeline([("columns", transformer), ("as it is", "passthrough")]),
        initial_types=skl2onnx_types(feeds),
        target_opset=target_opset(),
    )
    path = tmp_path / "model.onnx"
    save(exported, path, {exported.graph.output[0].name: "transformed"})
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    feeder = Feeder([each.model_dump(mode="json") for each in feeds])
    shuffled = UNSEEN[UNSEEN.columns[::-1]].assign(more=1)
    (found,) = session.run(None, feeder.feeds(shuffled))
    scale = np.maximum(np.abs(expected).max(axis=0, initial=1.0), 1.0)
    assert found.shape == expected.shape
    np.testing.assert_allclose(found / scale, expected / scale, rtol=0, atol=1e-6)
