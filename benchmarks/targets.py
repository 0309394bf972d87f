"""Exports of twelve models to every target, and of ONNX's node cases to the text formats.

python -m benchmarks.targets            both
python -m benchmarks.targets cases      ONNX's own node cases alone

Each model is exported to each installed target and compared with ONNX Runtime as `export` does: in
a new process, at several batch sizes, on rows and on probes.
"""

from __future__ import annotations

import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from mlflow_onnx_flavor import targets
from mlflow_onnx_flavor.formatting.text import plain_table

ROWS = 200
LOSSLESS = ("json", "textproto")


def main() -> None:
    parts = sys.argv[1:] or ["cases", "models"]
    if "cases" in parts:
        print_cases()
    if "models" in parts:
        print_models()


def print_cases() -> None:
    """Print how many node cases each lossless text format restores to the byte."""
    from onnx.backend.test.case.node import collect_testcases

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        models = [case.model for case in collect_testcases(None)]
    for name in LOSSLESS:
        target = targets.get(name)
        same = [
            target.from_text(target.to_text(model)).SerializeToString() == model.SerializeToString()
            for model in models
        ]
        print(f"{name}: {sum(same):,} of {len(same):,} node cases come back to the byte")


def print_models() -> None:
    from mlflow_onnx_flavor.pipeline.export import where_it_runs

    rows = []
    with tempfile.TemporaryDirectory(prefix="targets-") as work:
        for name, model, data in _models(Path(work)):
            for report in where_it_runs(model, data=data):
                rows.append((name, report.target, report.outcome, report.cause))
                print(*rows[-1], sep=" | ", flush=True)
    print(plain_table(("model", "target", "outcome", "why"), rows))
    for target in targets.names():
        right = sum(outcome == "right" for _, each, outcome, _ in rows if each == target)
        print(f"{target}: right on {right} of {len({row[0] for row in rows})} models")


def _models(work: Path) -> Iterator[tuple[str, str, Any]]:
    """Yield the name, path and rows of each model."""
    yield from _nets(work)
    yield from _estimators(work)


def _nets(work: Path) -> Iterator[tuple[str, str, Any]]:
    import torch
    from torch import nn

    torch.manual_seed(0)
    generator = np.random.default_rng(0)

    class Encoder(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            layer = nn.TransformerEncoderLayer(16, 2, 32, batch_first=True)
            self.embedding = nn.Embedding(50, 16)
            self.encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)

        def forward(self, tokens):
            return self.encoder(self.embedding(tokens)).mean(1)

    class Last(nn.Module):
        def __init__(self, layer: nn.Module) -> None:
            super().__init__()
            self.layer = layer

        def forward(self, rows):
            return self.layer(rows)[0][:, -1]

    pictures = generator.normal(size=(ROWS, 1, 8, 8)).astype(np.float32)
    series = generator.normal(size=(ROWS, 6, 4)).astype(np.float32)
    columns = generator.normal(size=(ROWS, 4)).astype(np.float32)
    nets = {
        "mlp": (nn.Sequential(nn.Linear(4, 16), nn.GELU(), nn.Linear(16, 3)), columns),
        "convnet": (
            nn.Sequential(
                nn.Conv2d(1, 4, 3, padding=1),
                nn.BatchNorm2d(4),
                nn.ReLU(),
                nn.MaxPool2d(2),
                nn.Flatten(),
                nn.Linear(64, 3),
            ),
            pictures,
        ),
        "encoder": (Encoder(), generator.integers(50, size=(ROWS, 7))),
        "lstm": (Last(nn.LSTM(4, 8, batch_first=True)), series),
        "gru": (Last(nn.GRU(4, 8, batch_first=True)), series),
    }
    for name, (net, data) in nets.items():
        path = work / f"{name}.onnx"
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            torch.onnx.export(
                net.eval(),
                (torch.from_numpy(data[:3]),),
                str(path),
                dynamo=False,
                input_names=["x"],
                output_names=["y"],
                dynamic_axes={"x": {0: "batch"}, "y": {0: "batch"}},
            )
        yield name, str(path), {"x": data}


def _estimators(work: Path) -> Iterator[tuple[str, str, Any]]:
    import mlflow
    from sklearn.ensemble import GradientBoostingRegressor, RandomForestClassifier
    from sklearn.linear_model import LogisticRegression, Ridge
    from sklearn.neural_network import MLPClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler
    from sklearn.svm import SVC
    from sklearn.tree import DecisionTreeClassifier

    generator = np.random.default_rng(0)
    frame = pd.DataFrame(generator.normal(size=(ROWS, 4)), columns=list("abcd"))
    number = (frame["a"] * frame["b"]).to_numpy()
    label = np.array(["high", "low", "mid"])[np.digitize(number, [-0.3, 0.3])]
    estimators: dict[str, tuple[Callable[[], Any], Any]] = {
        "logistic regression": (
            lambda: make_pipeline(StandardScaler(), LogisticRegression()),
            label,
        ),
        "ridge": (Ridge, number),
        "tree": (DecisionTreeClassifier, label),
        "forest": (lambda: RandomForestClassifier(20, random_state=0), label),
        "boosting": (lambda: GradientBoostingRegressor(n_estimators=30), number),
        "svc": (SVC, label),
        "sklearn mlp": (lambda: MLPClassifier((8,), max_iter=100), label),
    }
    for name, (build, answer) in estimators.items():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model = build().fit(frame, answer)
            mlflow.sklearn.save_model(
                model,
                str(work / name),
                signature=mlflow.models.infer_signature(frame, model.predict(frame)),
                serialization_format="cloudpickle",
                pip_requirements=["scikit-learn"],
            )
        yield name, str(work / name), frame


if __name__ == "__main__":
    main()
