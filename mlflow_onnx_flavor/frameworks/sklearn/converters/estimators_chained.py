"""Estimators that transform their input or their answer: chains and transformed targets."""

from __future__ import annotations

from typing import Any

import numpy as np

from mlflow_onnx_flavor.errors import NotExportableError
from mlflow_onnx_flavor.frameworks.sklearn.converters.estimators_graph import (
    CLASSIFIER,
    REGRESSOR,
    Combination,
    asked,
    declared,
    take_combined,
)
from mlflow_onnx_flavor.frameworks.sklearn.converters.target_inverses import inverse_of
from mlflow_onnx_flavor.frameworks.sklearn.converters.transformers_graph import Rows

Parsed = tuple[list[Any], Combination]


def register() -> None:
    """Register this file's parsers with skl2onnx."""
    from sklearn import compose, multioutput

    take_combined(CLASSIFIER, {multioutput.ClassifierChain: _parse_chain})
    take_combined(
        REGRESSOR,
        {
            multioutput.RegressorChain: _parse_chain,
            compose.TransformedTargetRegressor: _parse_transformed,
        },
    )


def _parse_chain(scope: Any, model: Any, inputs: Any) -> Parsed:
    """Declare a chain: each estimator receives the rows and the answers of those before it.

    A classifier chain answers with numbers too, one column for each label.
    """
    method = getattr(model, "chain_method_", "predict")
    answers: list[Any] = []
    fed: list[Any] = []
    for estimator in model.estimators_:
        rows = inputs if not fed else declared(scope, [*inputs, *fed], _joined(model, len(fed)))
        answers.append(asked(scope, estimator, rows))
        fed.append(answers[-1] if method == "predict" else _second(scope, estimator, rows, method))
    order = np.argsort(model.order_)

    def in_order(rows: Rows, model: Any, values: list[str]) -> str:
        columns = rows.joined([rows.reshape(each, -1, 1) for each in values])
        return rows.columns(columns, order)

    return answers, Combination(model, REGRESSOR, in_order, len(answers))


def _joined(model: Any, answered: int) -> Combination:
    """Return an estimator's input: the rows with ``answered`` more columns."""
    width = model.estimators_[0].n_features_in_

    def join(rows: Rows, model: Any, values: list[str]) -> str:
        given = len(values) - answered
        return rows.joined(
            [*values[:given], *(rows.reshape(each, -1, 1) for each in values[given:])]
        )

    return Combination(model, REGRESSOR, join, width + answered)


def _second(scope: Any, estimator: Any, inputs: Any, method: str) -> Any:
    """Declare the column that a chain passes on: of two probabilities the second."""
    answer = asked(scope, estimator, inputs, method)

    def pick(rows: Rows, model: Any, values: list[str]) -> str:
        return rows.columns(values[0], [1]) if method == "predict_proba" else values[0]

    return declared(scope, [answer], Combination(estimator, REGRESSOR, pick))[0]


def _parse_transformed(scope: Any, model: Any, inputs: Any) -> Parsed:
    part = asked(scope, model.regressor_, inputs)
    outputs = 1 if model._training_dim == 1 else _outputs(model)
    undo = inverse_of(model.transformer_)

    def transform(rows: Rows, model: Any, values: list[str]) -> str:
        return undo(rows, rows.reshape(values[0], -1, outputs))

    return [part], Combination(model, REGRESSOR, transform, outputs)


def _outputs(model: Any) -> int:
    """Return the number of columns of the answer, which only a prediction shows."""
    try:
        return int(np.size(model.predict(np.ones((1, model.n_features_in_)))))
    except ValueError as error:  # the transformer selects columns by name
        raise NotExportableError(
            "TransformedTargetRegressor of several targets around pipelines that select columns has"
            " no ONNX form here; fit one for each target"
        ) from error
