"""The source models of the mutation benchmark: small models with every kind of arithmetic."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

LARGE = 5_000


@dataclass(frozen=True)
class Source:
    """A source model and its rows.

    ``rows(count, seed)`` returns inputs of one distribution, in the form in which the source is
    served.  ``traced(file)`` writes a conversion that kept one arm of a branch and lost the other.
    """

    name: str
    framework: str
    save: Callable[[Path], None]
    rows: Callable[[int, int], Any]
    traced: Callable[[Path], None] | None = None


def sources() -> Iterator[Source]:
    yield from _scikit_learn()
    yield from _boosters()
    yield from _torch()
    yield _branching()


def _table(count: int, seed: int) -> Any:
    import pandas as pd

    rng = np.random.default_rng(seed)
    return pd.DataFrame(
        {
            "amount": rng.lognormal(3, 1, count),
            "age": rng.integers(18, 90, count).astype(np.float64),
            "score": rng.normal(size=count),
            "rate": rng.uniform(0, 1, count),
        }
    )


def _target(rows: Any) -> np.ndarray:
    noise = np.random.default_rng(1).normal(size=len(rows)) * 0.1
    return (
        np.log(rows["amount"]) + rows["score"] * rows["rate"] + rows["age"] / 50 + noise
    ).to_numpy()


def _saved(flavor: str, model: Any, rows: Any, folder: Path, **options: Any) -> None:
    import importlib

    import mlflow

    module = importlib.import_module(f"mlflow.{flavor}")
    module.save_model(
        model,
        str(folder),
        signature=mlflow.models.infer_signature(rows),
        pip_requirements=[],
        **options,
    )


def _scikit_learn() -> Iterator[Source]:
    from sklearn.ensemble import (
        GradientBoostingRegressor,
        HistGradientBoostingClassifier,
        RandomForestClassifier,
    )
    from sklearn.linear_model import LinearRegression, LogisticRegression
    from sklearn.neural_network import MLPRegressor
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler
    from sklearn.svm import SVR

    rows = _table(2_000, 0)
    amount = _target(rows)
    classes = np.digitize(amount, np.quantile(amount, [0.3, 0.7]))
    models = {
        "linear regression": (LinearRegression(), amount),
        "scaled logistic regression": (
            make_pipeline(StandardScaler(), LogisticRegression()),
            classes,
        ),
        "scaled perceptron": (
            make_pipeline(
                StandardScaler(),
                MLPRegressor(hidden_layer_sizes=(16,), max_iter=200, random_state=0),
            ),
            amount,
        ),
        "scaled support vectors": (make_pipeline(StandardScaler(), SVR()), amount),
        "random forest": (
            RandomForestClassifier(20, max_depth=6, random_state=0),
            classes,
        ),
        "gradient boosting": (GradientBoostingRegressor(n_estimators=40, random_state=0), amount),
        "scaled forest": (
            make_pipeline(
                StandardScaler(), RandomForestClassifier(10, max_depth=5, random_state=0)
            ),
            classes,
        ),
        "histogram boosting": (
            HistGradientBoostingClassifier(max_iter=20, random_state=0),
            classes,
        ),
    }
    for name, (model, target) in models.items():
        model.fit(rows, target)
        yield Source(
            name,
            "sklearn",
            lambda folder, model=model: _saved(
                "sklearn", model, rows, folder, serialization_format="cloudpickle"
            ),
            _table,
        )


def _boosters() -> Iterator[Source]:
    import lightgbm
    import xgboost

    rows = _table(2_000, 0)
    amount = _target(rows)
    classes = (amount > np.median(amount)).astype(int)
    xgb = xgboost.XGBClassifier(n_estimators=30, max_depth=4).fit(rows, classes)
    yield Source("XGBoost", "xgboost", lambda folder: _saved("xgboost", xgb, rows, folder), _table)
    lgb = lightgbm.LGBMRegressor(n_estimators=30, verbose=-1).fit(rows, amount)
    yield Source(
        "LightGBM", "lightgbm", lambda folder: _saved("lightgbm", lgb, rows, folder), _table
    )


def _torch() -> Iterator[Source]:
    import torch

    nn = torch.nn

    class Convolutions(nn.Module):
        def __init__(self):
            super().__init__()
            self.body = nn.Sequential(
                nn.Conv2d(3, 8, 3, padding=1),
                nn.BatchNorm2d(8),
                nn.ReLU(),
                nn.MaxPool2d(2),
                nn.Conv2d(8, 8, 3, padding=1),
                nn.SiLU(),
                nn.AdaptiveAvgPool2d(1),
                nn.Flatten(),
            )
            self.head = nn.Linear(8, 5)

        def forward(self, pictures):
            return torch.softmax(self.head(self.body(pictures)), 1)

    class Attention(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.TransformerEncoderLayer(16, 4, 32, activation="gelu", batch_first=True)
            self.head = nn.Linear(16, 3)

        def forward(self, words):
            return self.head(self.layer(words).mean(1))

    class Recurrent(nn.Module):
        def __init__(self):
            super().__init__()
            self.recurrent, self.head = nn.LSTM(6, 12, batch_first=True), nn.Linear(12, 2)

        def forward(self, steps):
            return self.head(self.recurrent(steps)[0][:, -1])

    perceptron = nn.Sequential(
        nn.Linear(10, 32),
        nn.Tanh(),
        nn.LayerNorm(32),
        nn.Linear(32, 16),
        nn.ELU(),
        nn.Linear(16, 1),
    )
    for name, make, shape in (
        ("perceptron", lambda: perceptron, (10,)),
        ("convolutions", Convolutions, (3, 12, 12)),
        ("attention", Attention, (7, 16)),
        ("LSTM", Recurrent, (9, 6)),
    ):
        torch.manual_seed(0)
        net = make().eval()

        def rows(count, seed, shape=shape):
            return np.random.default_rng(seed).normal(size=(count, *shape)).astype(np.float32)

        yield Source(
            f"torch {name}",
            "pytorch",
            lambda folder, net=net, rows=rows: _saved(
                "pytorch", net, rows(4, 0), folder, serialization_format="pickle"
            ),
            rows,
        )


def _branching() -> Source:
    import torch

    class Branching(torch.nn.Module):
        def forward(self, rows):
            if bool(rows.sum() > 0):
                return rows * 2.0
            return rows - 1.0

    def rows(count: int, seed: int) -> np.ndarray:
        return np.random.default_rng(seed).normal(-0.1, 1, (count, 6)).astype(np.float32)

    def traced(file: Path) -> None:
        positive = torch.ones(4, 6)
        torch.onnx.export(
            torch.jit.trace(Branching(), positive),
            (positive,),
            str(file),
            input_names=["input"],
            output_names=["output"],
            dynamic_axes={"input": {0: "batch"}, "output": {0: "batch"}},
            dynamo=False,
        )

    script = torch.jit.script(Branching())
    saved = functools.partial(_saved, "pytorch", script, rows(4, 0), serialization_format="pickle")
    return Source("torch branch", "pytorch", saved, rows, traced)
