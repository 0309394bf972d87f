"""`mlflow-onnx explain`: which strategy works, or which part of the model is in the way."""

from __future__ import annotations

import json
import sys

import cloudpickle
import mlflow
import numpy as np
import pandas as pd
import pytest
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.compose import ColumnTransformer
from sklearn.linear_model import LinearRegression
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

from mlflow_onnx_flavor.cli.ending import run_guarded
from mlflow_onnx_flavor.cli.parser import build_parser

pytestmark = pytest.mark.process

ROWS = pd.DataFrame(np.random.default_rng(0).normal(size=(20, 2)), columns=["a", "b"])


class Doubling(BaseEstimator, TransformerMixin):
    """A transformer of the user's own, which nobody has a converter for."""

    def fit(self, rows, target=None):
        self.fitted_ = True
        return self

    def transform(self, rows):
        return np.asarray(rows) * 2


def wrapped(rows):
    return rows % 3


def saved(transformer, folder):
    columns = ColumnTransformer([("scaled", StandardScaler(), ["a"]), ("own", transformer, ["b"])])
    model = Pipeline([("prepare", columns), ("regress", LinearRegression())]).fit(ROWS, ROWS["a"])
    cloudpickle.register_pickle_by_value(sys.modules[__name__])
    try:
        mlflow.sklearn.save_model(
            model,
            str(folder),
            signature=mlflow.models.infer_signature(ROWS),
            input_example=ROWS[:5],
            serialization_format="cloudpickle",
            pip_requirements=[],
        )
    finally:
        cloudpickle.unregister_pickle_by_value(sys.modules[__name__])
    return folder


def explained(folder, *options):
    arguments = build_parser().parse_args(["explain", str(folder), "--quiet", *options])
    return run_guarded(lambda: arguments.verb(arguments))


@pytest.mark.parametrize(
    ("transformer", "says"),
    [
        (Doubling(), "Doubling (prepare__own) has no ONNX form here; replace it by"),
        (FunctionTransformer(wrapped), "FunctionTransformer (prepare__own)"),
    ],
    ids=["a class of the user's own", "a function of the user's own"],
)
def test_the_part_in_the_way_is_named_with_its_place_and_what_can_replace_it(
    transformer, says, tmp_path, capsys
):
    assert explained(saved(transformer, tmp_path / "model")) == 4
    out = capsys.readouterr().out
    assert "It cannot be converted:" in out and says in out
    assert "Traceback" not in out


def test_the_strategy_that_works_is_shown_with_why(tmp_path, capsys):
    folder = saved(StandardScaler(), tmp_path / "model")
    assert explained(folder) == 0
    assert "converted" in capsys.readouterr().out
    assert explained(folder, "--json") == 0
    tried = json.loads(capsys.readouterr().out)["strategies"]
    assert [each["outcome"] for each in tried].count("converted") == 1
    assert all(each["why"] for each in tried)
