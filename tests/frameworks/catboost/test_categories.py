"""CatBoost on categories: single ones and statistics of the target, to CatBoost's last digits."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path

import mlflow
import numpy as np
import onnxruntime
import pandas as pd
import pytest
from sklearn.compose import ColumnTransformer
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import OrdinalEncoder

from mlflow_onnx_flavor.errors import ConversionError, NotExportableError
from mlflow_onnx_flavor.frameworks.base import LoadedSource
from mlflow_onnx_flavor.frameworks.catboost import combinations
from mlflow_onnx_flavor.frameworks.catboost.ctrs import (
    CATEGORY,
    Element,
    Table,
    as_numbers,
    ctrs_of,
)
from mlflow_onnx_flavor.frameworks.catboost.framework import framework
from mlflow_onnx_flavor.inputs import Inputs
from mlflow_onnx_flavor.scoring.feeds import Feeder
from tests.frameworks.in_process import converted, save_estimator, session_of

catboost = pytest.importorskip("catboost")

CITIES = ["Oslo", "Rome", "Köln", "東京", "", "New\nYork"]
KINDS = ["city", "shop", "size", "open"]
SMALL = {"iterations": 25, "depth": 4, "verbose": 0, "allow_writing_files": False}
SMALL |= {"thread_count": 1, "cat_features": KINDS, "max_ctr_complexity": 3, "random_seed": 1}


def table(rows: int = 600, seed: int = 0, unseen: bool = False) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    missing = np.where(rng.random(rows) < 0.1, np.nan, 1.0)
    return pd.DataFrame(
        {
            "city": rng.choice(CITIES + ["nowhere", "0"] * unseen, rows),
            "warm": rng.normal(size=rows) * missing,
            "shop": rng.integers(-2, 30 + 9 * unseen, rows),
            "size": rng.choice(["S", "M", "L"] + ["XXL"] * unseen, rows),
            "open": rng.random(rows) < 0.5,
            "rain": rng.normal(size=rows),
        }
    )


def score(rows: pd.DataFrame) -> np.ndarray:
    warm = rows["warm"].fillna(1.0)
    by_city = np.where(rows["city"] == "Oslo", warm, rows["rain"])
    by_shop = np.where(rows["size"] == "M", rows["shop"].astype(int) % 7, rows["open"] * 3)
    return (by_city + by_shop).to_numpy() if hasattr(by_city, "to_numpy") else by_city + by_shop


def exact(model, example, tested, evaluation=None):
    """The graph's answers on ``tested`` are CatBoost's to the last digits."""
    source = LoadedSource(model, None, None, {})
    given = Inputs(evaluation) if evaluation is not None else None
    (strategy,) = framework.strategies(source, Inputs(example), lambda: given)
    with tempfile.TemporaryDirectory() as folder:
        export = strategy.export(Path(folder) / "model.onnx")
        session = onnxruntime.InferenceSession(Path(folder) / "model.onnx")
    feeder = Feeder([each.model_dump() for each in export.feeds])
    for rows in tested:
        answers = dict(
            zip(export.outputs, session.run(export.outputs, feeder.feeds(rows)), strict=True)
        )
        if hasattr(model, "predict_proba"):
            np.testing.assert_array_equal(answers["label"], model.predict(rows))
            every = model.predict_proba(rows)
            np.testing.assert_allclose(answers["probabilities"], every, rtol=1e-11, atol=1e-11)
        else:
            expected = model.predict(rows)
            np.testing.assert_allclose(answers["prediction"], expected, rtol=1e-11, atol=1e-11)


def right(model, example, tested, folder, evaluation=None):
    """As MLflow serves it, and as it is scored."""
    mlflow.catboost.save_model(model, str(folder / "source"), pip_requirements=[])
    given = Inputs(evaluation) if evaluation is not None else None
    conversion, _ = converted(folder / "source", "catboost", Inputs(example), given, folder / "out")
    session = session_of(conversion)
    loaded = mlflow.pyfunc.load_model(str(folder / "source"))
    for rows in tested:
        expected, answer = loaded.predict(rows), session.predict(rows)
        assert answer.dtype == expected.dtype and answer.shape == expected.shape
        if expected.dtype.kind == "f":
            np.testing.assert_allclose(answer, expected, rtol=1e-11, atol=1e-11)
        else:
            np.testing.assert_array_equal(answer, expected)


def fresh():
    return [table(1500, 1), table(1500, 2, unseen=True), table(1, 3)]


def elements(model) -> set[tuple[str, ...]]:
    """The kinds of elements of the combinations that a model counts."""
    return {tuple(each.kind for each in some.elements) for some in ctrs_of(model).tables}


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"one_hot_max_size": 50},
        {"max_ctr_complexity": 1, "one_hot_max_size": 2},
        {"nan_mode": "Max", "counter_calc_method": "Full"},
        {"grow_policy": "Depthwise"},
        {"grow_policy": "Lossguide", "one_hot_max_size": 10},
        {"ctr_leaf_count_limit": 6},
        {
            # Two divisions of the target under one name, which the model's JSON mixes up.
            "simple_ctr": ["Borders:TargetBorderCount=3", "Borders:TargetBorderCount=1"],
            "combinations_ctr": [
                "BinarizedTargetMeanValue:TargetBorderCount=3",
                "Counter:Prior=0.3/1",
                "Buckets:TargetBorderCount=2",
            ],
        },
    ],
    ids=lambda options: "-".join(map(str, options.values())),
)
def test_regressors(options):
    rows = table()
    model = catboost.CatBoostRegressor(**(SMALL | options)).fit(rows, score(rows))
    exact(model, rows, fresh())


def test_categories_borders_and_single_categories_are_combined_in_what_is_tested():
    rows = table()
    kinds = elements(catboost.CatBoostRegressor(**SMALL).fit(rows, score(rows)))
    assert {each for some in kinds for each in some} == {"category", "exceeds", "is"}
    assert max(map(len, kinds)) >= 3


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(40))
def test_models_of_any_options(seed):
    rng = np.random.default_rng(seed)

    def one(*choices):
        return choices[rng.integers(len(choices))]

    options = SMALL | {
        "iterations": one(1, 20, 80),
        "depth": one(1, 3, 6),
        "one_hot_max_size": one(1, 2, 3, 6, 40),
        "max_ctr_complexity": one(1, 2, 4),
        "learning_rate": one(0.03, 0.3, 1.0),
        "random_seed": seed,
        "grow_policy": one("SymmetricTree", "SymmetricTree", "Depthwise", "Lossguide"),
        "nan_mode": one("Min", "Max"),
        "border_count": one(3, 32, 300),
        "counter_calc_method": one("Full", "SkipTest"),
        "ctr_leaf_count_limit": one(2, 10, 1000),
        "simple_ctr": [
            one("Borders", "Buckets", "BinarizedTargetMeanValue"),
            one("Counter:CtrBorderCount=50", "Counter:Prior=0.7/1"),
        ],
        "combinations_ctr": [
            one("Borders:CtrBorderCount=50", "Buckets", "BinarizedTargetMeanValue"),
            one("Counter", "Counter:Prior=0.3/1"),
        ],
    }
    rows = table(one(40, 300, 1200), seed)
    classes = np.digitize(score(rows), one([1.0], [0.5, 2.5]))
    kind, target = one(
        ("CatBoostRegressor", score(rows)),
        ("CatBoostClassifier", classes),
        ("CatBoost", score(rows)),
    )
    model = getattr(catboost, kind)()
    exact(model.set_params(**options).fit(rows, target), rows, [*fresh(), rows])


@pytest.mark.parametrize("labels", [["low", "high"], [0, 1, 2]])
def test_classifiers_as_they_are_served(labels, tmp_path):
    rows = table()
    target = np.array(labels)[np.digitize(score(rows), [0.5, 2.5][: len(labels) - 1])]
    model = catboost.CatBoostClassifier(**SMALL).fit(rows, target)
    exact(model, rows, fresh())
    right(model, rows, fresh(), tmp_path)


def test_several_targets():
    rows = table()
    target = np.c_[score(rows) > 1, score(rows) > 3].astype(int)
    labels = catboost.CatBoostClassifier(loss_function="MultiLogloss", **SMALL).fit(rows, target)
    exact(labels, rows, fresh())
    numbers = catboost.CatBoostRegressor(loss_function="MultiRMSE", **SMALL)
    exact(numbers.fit(rows, np.c_[score(rows), -rows["rain"]]), rows, fresh())


def test_rankers_and_sums_of_models():
    rows, others = table(), table(seed=4, unseen=True)
    ranker = catboost.CatBoostRanker(**SMALL)
    ranker.fit(rows, np.digitize(score(rows), [0, 1, 3]), group_id=np.repeat(range(30), 20))
    exact(ranker, rows, fresh())
    models = [catboost.CatBoostRegressor(**SMALL).fit(some, score(some)) for some in (rows, others)]
    both = catboost.sum_models(models, ctr_merge_policy="IntersectingCountersAverage")
    exact(both, pd.concat([rows, others], ignore_index=True), fresh())


def test_means_of_the_target_as_a_gpu_counts_them(tmp_path):
    rows = table()
    options = SMALL | {"simple_ctr": ["BinarizedTargetMeanValue:TargetBorderCount=3", "Counter"]}
    model = catboost.CatBoostRegressor(**options).fit(rows, score(rows))
    file = tmp_path / "model.json"
    model.save_model(str(file), format="json")
    text = file.read_text(encoding="utf-8")
    for kind, other in (
        ("BinarizedTargetMeanValue", "FloatTargetMeanValue"),
        ("Counter", "FeatureFreq"),
    ):
        text = text.replace(f'"{kind}"', f'"{other}"').replace(f'\\"{kind}\\"', f'\\"{other}\\"')
    file.write_text(text, encoding="utf-8")
    renamed = catboost.CatBoostRegressor()
    renamed.load_model(str(file), format="json")
    assert {"FloatTargetMeanValue", "FeatureFreq"} <= kinds_of_ctrs(renamed)
    exact(renamed, rows, fresh())


def kinds_of_ctrs(model) -> set[str]:
    from mlflow_onnx_flavor.frameworks.catboost.binary import stored

    return {each.base.kind for each in stored(model)[0]}


def test_few_rows_are_enough_where_they_hold_every_category(tmp_path):
    rows = table()
    model = catboost.CatBoostRegressor(**SMALL).fit(rows, score(rows))
    few = rows.drop_duplicates(["city", "size"])[:20]
    assert set(few["city"]) == set(CITIES) and few["shop"].nunique() < rows["shop"].nunique()
    exact(model, few, fresh())
    right(model, rows[:2], fresh(), tmp_path, evaluation=few)


def test_a_column_of_pandas_categories_knows_them_without_rows():
    rows = table().astype({"city": "category", "shop": "category", "size": "category"})
    model = catboost.CatBoostRegressor(**SMALL).fit(rows, score(rows))
    exact(model, rows[:3], [rows, table(500, 1).astype(rows.dtypes.to_dict())])


def test_arrays_of_whole_numbers_and_numbers_as_text():
    rows = table()
    array = np.c_[rows["shop"], (rows["rain"] * 100).astype(int), rows["open"]].astype(np.int64)
    options = SMALL | {"cat_features": [0, 2]}
    model = catboost.CatBoostRegressor(**options).fit(array, score(rows))
    exact(model, array[:50], [array, array + [[7, 2**40 + 1, 0]]])
    text = rows.astype({"shop": str, "open": str})
    model = catboost.CatBoostRegressor(**SMALL).fit(text, score(rows))
    exact(model, text, [text, fresh()[1].astype({"shop": str, "open": str})])


def test_categories_that_are_never_looked_at_and_columns_beyond_the_model():
    rows = table().assign(country="Norway")
    options = SMALL | {"cat_features": [*KINDS, "country"], "ignored_features": ["city"]}
    model = catboost.CatBoostRegressor(**options).fit(rows, score(rows))
    abroad = [each.assign(country="elsewhere", more=1.5) for each in fresh()]
    exact(model, pd.concat([abroad[0], rows.assign(more=0.5)]), abroad)


@pytest.mark.parametrize("complexity", [1, 3])
def test_rows_that_lack_categories_are_refused_with_their_number(complexity, tmp_path):
    rows = table()
    options = SMALL | {"max_ctr_complexity": complexity}
    model = catboost.CatBoostRegressor(**options).fit(rows, score(rows))
    lacking = rows[rows["city"] != "Oslo"]
    sentence = "no row at hand holds 1 of the 6 categories of 'city' that .*--data FILE"
    with pytest.raises(ConversionError, match=sentence):
        right(model, lacking, [], tmp_path)


def test_combinations_that_no_rows_explain_are_refused():
    rows = table()
    model = catboost.CatBoostRegressor(**SMALL | {"iterations": 60}).fit(rows, score(rows))
    city = Element(CATEGORY, 0)
    for tree in range(60):  # one that looks at cities, but never by themselves
        alone = model.copy()
        alone.shrink(tree + 1, tree)
        looked_at = [each.elements for each in ctrs_of(alone).tables if city in each.elements]
        if looked_at and (city,) not in looked_at:
            break
    assert looked_at and (city,) not in looked_at
    exact(alone, rows, fresh())
    with pytest.raises(NotExportableError, match="holds .* combinations of 'city'.*--data FILE"):
        exact(alone, rows[rows["city"] != "Oslo"], [])


@pytest.mark.parametrize("most_sums", [2**23, 1000, 10])
def test_combinations_are_found_by_all_sums_by_halves_or_not_at_all(most_sums, monkeypatch):
    rng = np.random.default_rng(0)
    monkeypatch.setattr(combinations, "_MOST_SUMS", most_sums)
    numbers = [as_numbers(rng.integers(-(2**31), 2**31, size)) for size in (12, 9, 2, 11)]
    places = np.stack([rng.integers(0, len(each), 20) for each in numbers], axis=1)
    table = Table(
        tuple(Element(CATEGORY, at) for at in range(4)), np.zeros(0, np.uint64), *[None] * 2
    )
    sums = sum(n[p] * f for n, p, f in zip(numbers, places.T, table.factors, strict=True))
    order = np.argsort(sums)
    table = replace(table, keys=sums[order])
    found = combinations.explained(table, numbers, places[:3])
    known = np.isin(order, range(3)) if most_sums == 10 else np.ones(20, bool)
    np.testing.assert_array_equal(found[known], places[order][known])
    assert (found[~known] == -1).all()


def test_texts_and_numbers_side_by_side_are_refused():
    rows = table()
    rows["city"] = rows["city"].astype(object)
    rows.loc[::2, "city"] = 5
    for mixed in (rows, rows.astype({"city": "category"})):
        model = catboost.CatBoostRegressor(**SMALL).fit(mixed, score(mixed))
        with pytest.raises(NotExportableError, match="features city hold neither texts alone nor"):
            exact(model, mixed, [])


def test_the_hash_of_every_text_is_told_of_equal_ones_too():
    from mlflow_onnx_flavor.frameworks.catboost.hashes import hashes_of

    texts = ["", "Köln", '"\\', "a\x00b", "x" * 300, "19771", "135374", "7"]
    found = hashes_of(texts)
    assert set(found) == set(texts)
    assert found["19771"] == found["135374"]  # CatBoost tells but one text of each hash
    assert found["7"] == -17943309  # as its exports say


@pytest.mark.parametrize("method", ["predict", "predict_proba"])
def test_all_of_a_scikit_learn_model(method, tmp_path):
    rows = table()
    model = catboost.CatBoostClassifier(**SMALL)
    if method == "predict_proba":
        model = Pipeline([("as it is", "passthrough"), ("boosting", model)])
    model.fit(rows, np.digitize(score(rows), [0.5, 2.5]))
    mlflow.sklearn.save_model(
        model,
        str(tmp_path / "source"),
        serialization_format="cloudpickle",
        pip_requirements=[],
        pyfunc_predict_fn=method,
    )
    few = Inputs(rows.drop_duplicates(["city", "size"]))
    conversion, _ = converted(
        tmp_path / "source", "sklearn", Inputs(rows[:2]), few, tmp_path / "out"
    )
    session = session_of(conversion)
    loaded = mlflow.pyfunc.load_model(str(tmp_path / "source"))
    for some in fresh():
        expected, answer = loaded.predict(some), session.predict(some)
        assert answer.dtype == expected.dtype and answer.shape == expected.shape
        np.testing.assert_allclose(answer, expected, rtol=1e-11, atol=1e-11)


def test_categories_that_a_pipeline_computes_are_refused(tmp_path):
    rows = table()
    encoder = OrdinalEncoder(dtype=np.int64, handle_unknown="use_encoded_value", unknown_value=-1)
    columns = ColumnTransformer([("kinds", encoder, ["city", "size"])], remainder="drop")
    options = SMALL | {"cat_features": [0, 1]}
    model = make_pipeline(columns, catboost.CatBoostRegressor(**options)).fit(rows, score(rows))
    save_estimator(model, rows, tmp_path / "source")
    sentence = "features 0, 1 reach CatBoost inside of a scikit-learn pipeline.*log the CatBoost"
    with pytest.raises(ConversionError, match=sentence):
        converted(tmp_path / "source", "sklearn", Inputs(rows), None, tmp_path / "out")
