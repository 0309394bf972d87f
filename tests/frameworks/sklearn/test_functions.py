"""Functions of one's own in a FunctionTransformer, on arrays and on data frames."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from sklearn.compose import ColumnTransformer
from sklearn.linear_model import Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler
from sklearn.tree import DecisionTreeRegressor

from mlflow_onnx_flavor.errors import ConversionError
from mlflow_onnx_flavor.inputs import Inputs
from tests.frameworks.in_process import converted, save_estimator, session_of

ROWS = 120


@pytest.fixture(scope="module")
def rows() -> pd.DataFrame:
    generator = np.random.default_rng(2)
    return pd.DataFrame(
        {
            "amount": generator.lognormal(3, 1, ROWS).round(2),
            "hour": generator.integers(0, 24, ROWS),
            "balance": generator.normal(size=ROWS).round(1),
        }
    )


def right(model, rows, folder, unseen=None) -> None:
    save_estimator(model, rows, folder / "source")
    example, seen = Inputs(rows[:5]), Inputs(rows)
    conversion, _ = converted(folder / "source", "sklearn", example, seen, folder / "out")
    asked = rows if unseen is None else unseen
    found = session_of(conversion).predict(asked)
    np.testing.assert_allclose(found, model.predict(asked), rtol=1e-4, atol=1e-4)


def cyclic(X, period):
    return np.column_stack([np.sin(2 * np.pi * X / period), np.cos(2 * np.pi * X / period)])


def signed_log(X):
    return np.where(X < 0, -np.log1p(-np.minimum(X, 0.0)), np.log1p(np.maximum(X, 0.0)))


def with_ratio(frame):
    frame = frame.assign(ratio=frame["amount"] / (frame["hour"] + 1))
    frame["large"] = (frame["amount"] > 30.1) & ~(frame["balance"] <= 0)
    return frame.drop(columns="balance")


FUNCTIONS = {
    "clipped": FunctionTransformer(lambda X: np.log1p(np.clip(X, 0, 25))),
    "powers": FunctionTransformer(lambda X: X**2 - 3 / (1 + abs(X))),
    "cyclic": FunctionTransformer(cyclic, kw_args={"period": 24}),
    "signed": FunctionTransformer(signed_log),
    "frame": FunctionTransformer(lambda frame: frame[["amount"]].clip(upper=9).fillna(0.5)),
    "weighed": FunctionTransformer(lambda X: X * np.array([1.0, -2.0])),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions_of_ones_own_convert(name, rows, tmp_path):
    columns = ColumnTransformer(
        [("own", FUNCTIONS[name], ["amount", "balance"]), ("hour", StandardScaler(), ["hour"])]
    )
    model = make_pipeline(columns, Ridge()).fit(rows, rows["amount"])
    unseen = rows * [-1.5, 1, 2]
    unseen["hour"] = unseen["hour"].astype("int64")
    right(model, rows, tmp_path, unseen)


def test_a_function_that_adds_and_drops_columns_of_the_whole_frame_converts(rows, tmp_path):
    first = FunctionTransformer(with_ratio)
    model = make_pipeline(first, StandardScaler(), Ridge()).fit(rows, rows["amount"])
    right(model, rows, tmp_path)


def either(frame):
    return (frame["new"] + frame["late"]).to_frame()


def both(frame):
    return frame.astype(float).assign(two=lambda x: x["new"] + x["late"])


def test_columns_of_truth_values_are_added_once_they_are_numbers(rows, tmp_path):
    flags = pd.DataFrame({"new": rows["hour"] < 5, "late": rows["amount"] > 20})
    model = make_pipeline(FunctionTransformer(either), Ridge()).fit(flags, rows["balance"])
    with pytest.raises(ConversionError, match="a logical or; make them numbers first"):
        right(model, flags, tmp_path / "refused")
    model = make_pipeline(FunctionTransformer(both), Ridge()).fit(flags, rows["balance"])
    right(model, flags, tmp_path / "numbers")


def test_functions_of_an_array_convert(rows, tmp_path):
    matrix = rows.to_numpy(np.float64)
    first = FunctionTransformer(lambda X: np.hstack([X[:, :2] / (X[:, 1:] ** 2 + 1), X[:, [0]]]))
    right(make_pipeline(first, Ridge()).fit(matrix, matrix[:, 0]), matrix, tmp_path)


def test_comparisons_are_not_given_rounded_rows(rows, tmp_path):
    first = FunctionTransformer(lambda X: (X > 30.1) * 1.0)
    rows = rows.assign(amount=np.where(np.arange(ROWS) % 2, 30.1, np.nextafter(30.1, 31)))
    tree = DecisionTreeRegressor(max_depth=2)
    model = make_pipeline(first, tree).fit(rows, np.arange(ROWS) % 2)
    right(model, rows, tmp_path)


REFUSED = {
    "mean": (lambda X: X - X.mean(axis=0), "'Traced' object has no attribute 'mean'"),
    "numpy's mean": (lambda X: X - np.mean(X, axis=0), "it calls numpy.mean"),
    "branch": (lambda X: X if X["amount"] > 3 else -X, "branches on values; use numpy.where"),
    "rows": (lambda X: X / len(X), "it asks how many rows there are"),
    "array": (lambda X: np.asarray(X) * 2, "it makes an array of the rows"),
    "in line": (lambda X: X[["amount"]] - X[["balance"]].to_numpy() * X[["hour"]], "different"),
    "loop": (lambda X: pd.DataFrame(list(X)), "in a loop"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_no_graph_can_do_is_refused_with_the_cause(name, rows, tmp_path):
    function, cause = REFUSED[name]
    numbers = rows.astype(float)
    model = make_pipeline(FunctionTransformer(lambda X: X * 1.0), Ridge())
    model.fit(numbers, numbers["amount"])
    model[0].func = function
    with pytest.raises(ConversionError, match=f"applies .*no ONNX form: .*{cause}"):
        right(model, numbers[:1], tmp_path)
