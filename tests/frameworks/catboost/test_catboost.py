"""CatBoost: every row takes the branch in ONNX that it takes in CatBoost, and answers alike."""

from __future__ import annotations

import mlflow
import numpy as np
import pandas as pd
import pytest

from mlflow_onnx_flavor import frameworks
from mlflow_onnx_flavor.errors import ConversionError
from mlflow_onnx_flavor.inputs import Inputs
from tests.builders import scaled_rows, scaled_target
from tests.frameworks.in_process import converted, session_of

catboost = pytest.importorskip("catboost")

SMALL = {"iterations": 8, "depth": 4, "verbose": 0, "allow_writing_files": False, "thread_count": 1}


@np.errstate(over="ignore")  # borders reach to the largest float
def hostile(model, rows: np.ndarray, missing: bool = False) -> np.ndarray:
    """Rows with one value on a border of the model or one ulp of either float beside it."""
    beside = []
    for feature, borders in model.get_borders().items():
        for border in borders:
            at = np.float32(border)
            around = [at, np.nextafter(at, np.float32(-np.inf))]
            around += [np.nextafter(at, np.float32(np.inf))]
            around += [np.nextafter(np.float64(at), each) for each in (-np.inf, np.inf)]
            beside += [(feature, value) for value in around]
    odd = [0.0, -0.0, np.inf, -np.inf, 1e300] + [np.nan] * missing
    beside += [(feature, value) for feature in range(rows.shape[1]) for value in odd]
    changed = rows[np.arange(len(beside)) % len(rows)].copy()
    for number, (feature, value) in enumerate(beside):
        changed[number, feature] = value
    return np.concatenate([rows, changed])


def right(model, rows, tested, folder):
    """Convert on some of ``rows``; every answer on ``tested`` is CatBoost's to the last digits."""
    mlflow.catboost.save_model(model, str(folder / "source"), pip_requirements=[])
    conversion, source = converted(
        folder / "source", "catboost", Inputs(rows[:5]), Inputs(rows[:100]), folder / "out"
    )
    session = session_of(conversion)
    loaded = mlflow.pyfunc.load_model(str(folder / "source"))
    expected = loaded.predict(tested)
    answer = session.predict(tested)
    assert answer.dtype == expected.dtype and answer.shape == expected.shape
    if expected.dtype.kind == "f":
        np.testing.assert_allclose(answer, expected, rtol=1e-11, atol=1e-11)
    else:
        np.testing.assert_array_equal(answer, expected)
    if hasattr(model, "predict_proba"):
        np.testing.assert_allclose(
            session.run(tested)["probabilities"],
            loaded.get_raw_model().predict_proba(tested),
            rtol=1e-11,
            atol=1e-11,
        )
    return conversion


def test_the_flavor_is_recognised():
    assert frameworks.recognise({"catboost": {}, "python_function": {}}) == "catboost"


@pytest.mark.parametrize("policy", ["SymmetricTree", "Depthwise", "Lossguide"])
@pytest.mark.parametrize("nan_mode", [None, "Min", "Max"])
def test_regressors_at_their_borders(policy, nan_mode, tmp_path):
    rows = scaled_rows()
    if nan_mode:
        rows[np.random.default_rng(7).random(rows.shape) < 0.15] = np.nan
    options = {"grow_policy": policy} | ({"nan_mode": nan_mode} if nan_mode else {})
    model = catboost.CatBoostRegressor(**SMALL, **options).fit(rows, scaled_target(rows))
    right(model, rows, hostile(model, rows, missing=nan_mode is not None), tmp_path)


@pytest.mark.parametrize(
    "labels",
    [
        [0, 1],
        [2, 5],
        [0.25, 0.75],
        [False, True],
        ["no", "yes"],
        [0, 1, 2],
        ["low", "middle", "high"],
    ],
    ids=str,
)
def test_classifiers_at_their_borders(labels, tmp_path):
    rows = scaled_rows()
    target = np.array(labels)[np.digitize(scaled_target(rows), [-0.5, 0.8][: len(labels) - 1])]
    model = catboost.CatBoostClassifier(**SMALL).fit(rows, target)
    right(model, rows, hostile(model, rows), tmp_path)


@pytest.mark.parametrize(
    "options",
    [
        {"loss_function": "MultiClassOneVsAll"},
        {"loss_function": "MultiClass", "grow_policy": "Lossguide"},
        {"loss_function": "MultiLogloss"},
        {"loss_function": "CrossEntropy"},
        {"loss_function": "Logloss", "class_weights": [1, 5]},
    ],
    ids=lambda options: "-".join(map(str, options.values())),
)
def test_losses_of_classifiers(options, tmp_path):
    rows = scaled_rows()
    target = np.digitize(scaled_target(rows), [-0.5, 0.8])
    if options["loss_function"] == "MultiLogloss":
        target = np.c_[target > 0, target > 1].astype(int)
    elif options["loss_function"] == "CrossEntropy":
        target = target / 2
    elif options["loss_function"] == "Logloss":
        target = target > 0
    model = catboost.CatBoostClassifier(**SMALL, **options).fit(rows, target)
    right(model, rows, hostile(model, rows), tmp_path)


@pytest.mark.parametrize(
    "loss",
    [
        "MAE",
        "Quantile:alpha=0.3",
        "LogLinQuantile",
        "Poisson",
        "Tweedie:variance_power=1.5",
        "RMSEWithUncertainty",
        "MultiRMSE",
    ],
)
def test_losses_of_regressors(loss, tmp_path):
    rows = scaled_rows()
    target = np.exp(scaled_target(rows) / 5)
    if loss == "MultiRMSE":
        target = np.c_[target, -target, scaled_target(rows)]
    model = catboost.CatBoostRegressor(loss_function=loss, **SMALL).fit(rows, target)
    right(model, rows, hostile(model, rows), tmp_path)


def test_a_threshold_of_ones_own_and_a_raw_value_of_zero(tmp_path):
    rows = scaled_rows()
    model = catboost.CatBoostClassifier(**SMALL).fit(rows, scaled_target(rows) > 0)
    model.set_probability_threshold(0.8)
    right(model, rows, hostile(model, rows), tmp_path / "threshold")
    useless = np.c_[np.arange(40) % 2, np.arange(40) % 4 // 2].astype(float)
    even = catboost.CatBoostClassifier(**SMALL).fit(useless, np.arange(40) % 8 // 4)
    assert (even.predict(useless, prediction_type="RawFormulaVal") == 0).all()
    right(even, useless, useless, tmp_path / "zero")


def test_plain_models_and_rankers(tmp_path):
    rows = scaled_rows()
    plain = catboost.CatBoost({"loss_function": "Poisson", **SMALL})
    right(plain.fit(rows, np.exp(scaled_target(rows) / 5)), rows, rows, tmp_path / "plain")
    ranker = catboost.CatBoostRanker(**SMALL)
    ranker.fit(
        rows, np.digitize(scaled_target(rows), [-1, 0, 1]), group_id=np.repeat(range(20), 20)
    )
    right(ranker, rows, rows, tmp_path / "ranker")


def test_a_model_that_stopped_early_answers_with_its_best_iteration(tmp_path):
    rows, other = scaled_rows(), scaled_rows(seed=1)
    noise = np.random.default_rng(2).normal(size=400) * 3
    model = catboost.CatBoostRegressor(**(SMALL | {"iterations": 200}))
    model.fit(
        rows,
        scaled_target(rows) + noise,
        eval_set=(other, scaled_target(other)),
        early_stopping_rounds=3,
    )
    assert 0 < model.tree_count_ < 200
    right(model, rows, rows, tmp_path)


def test_names_of_any_kind_and_columns_of_several_types(tmp_path):
    rows = pd.DataFrame(scaled_rows(), columns=["Zeit [s]", "id-№", "a b", "d"])
    rows["count"] = np.random.default_rng(0).integers(0, 9, 400) + 2**40
    rows["flag"] = rows["a b"] > 0
    rows["small"] = rows["d"].astype(np.float32)
    model = catboost.CatBoostRegressor(**SMALL).fit(rows, scaled_target(scaled_rows()))
    right(model, rows, rows, tmp_path)


def test_texts_are_refused_by_name(tmp_path):
    rows = pd.DataFrame(scaled_rows(), columns=list("abcd"))
    rows["city"] = np.where(rows["c"] > 0, "Oslo by night", "Rome")
    model = catboost.CatBoostClassifier(text_features=["city"], **SMALL)
    model.fit(rows, scaled_target(scaled_rows()) > 0)
    sentence = r"text features city .* encode them .*TfidfVectorizer"
    with pytest.raises(ConversionError, match=sentence):
        right(model, rows, rows, tmp_path)
