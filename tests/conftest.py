"""What the tests share: a store of their own, and source models logged as users log them."""

from __future__ import annotations

import logging
import os
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

warnings.filterwarnings("ignore", category=UserWarning, module="mlflow")

CPU = "CPUExecutionProvider"
ROWS = 64


# Files whose tests take seconds each: releases, servers, environments, measurements.
LONG = (
    "test_end_to_end.py",
    "test_shared_server.py",
    "test_network_faults.py",
    "test_killed_releases.py",
    "test_registry.py",
    "test_source_environment.py",
    "test_flavor_serving.py",
    "test_measure.py",
    "test_failures.py",
    "test_streaming.py",
    "test_conversion.py",
    "test_fuzzing.py",
)


def pytest_collection_modifyitems(items):
    """They begin first, so that no core waits in the end for another that has one of them."""
    items.sort(key=lambda item: LONG.index(item.path.name) if item.path.name in LONG else len(LONG))


@pytest.fixture(scope="session", autouse=True)
def _quiet_mlflow():
    for name in ("mlflow", "alembic"):
        logging.getLogger(name).setLevel(logging.ERROR)
    os.environ["MLFLOW_LOGGING_LEVEL"] = "ERROR"


@pytest.fixture(scope="session")
def store(tmp_path_factory) -> str:
    """A SQLite store with its artifacts, used by the whole session."""
    import mlflow

    folder = tmp_path_factory.mktemp("store")
    uri = f"sqlite:///{folder / 'mlflow.db'}"
    os.environ["MLFLOW_TRACKING_URI"] = uri
    mlflow.set_tracking_uri(uri)
    experiment = mlflow.create_experiment("tests", artifact_location=(folder / "a").as_uri())
    mlflow.set_experiment(experiment_id=experiment)
    return uri


@pytest.fixture(scope="session")
def frame() -> pd.DataFrame:
    """Four named columns of float64."""
    generator = np.random.default_rng(0)
    return pd.DataFrame(generator.normal(size=(ROWS, 4)), columns=list("abcd"))


@pytest.fixture(scope="session")
def labels(frame) -> np.ndarray:
    """Three classes as text."""
    score = frame["a"] + frame["b"] * frame["c"]
    return np.array(["high", "low", "mid"])[np.digitize(score, [-0.5, 0.5])]


@pytest.fixture(scope="session")
def classifier_folder(tmp_path_factory, frame, labels) -> Path:
    """A scikit-learn classifier with text labels, as mlflow.sklearn saves it."""
    import mlflow
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    model = make_pipeline(StandardScaler(), LogisticRegression()).fit(frame, labels)
    folder = tmp_path_factory.mktemp("models") / "classifier"
    mlflow.sklearn.save_model(
        model,
        str(folder),
        signature=mlflow.models.infer_signature(frame, model.predict(frame)),
        input_example=frame.head(5),
        serialization_format="cloudpickle",
        pip_requirements=["scikit-learn"],
    )
    return folder


@pytest.fixture(scope="session")
def classifier_onnx(tmp_path_factory, classifier_folder, frame):
    """The classifier's conversion."""
    from mlflow_onnx_flavor import api

    return api.convert(str(classifier_folder), frame, output_dir=tmp_path_factory.mktemp("onnx"))


@pytest.fixture(scope="session")
def candidate_folder(tmp_path_factory, classifier_onnx, classifier_folder) -> Path:
    """The classifier's conversion, saved with this flavor."""
    from mlflow.models import Model

    from mlflow_onnx_flavor import flavor

    folder = tmp_path_factory.mktemp("candidates") / "converted"
    flavor.save_model(
        classifier_onnx.path,
        folder,
        graph=classifier_onnx.graph,
        signature=Model.load(str(classifier_folder)).signature,
    )
    return folder


@pytest.fixture
def saved(tmp_path):
    """Saves a model and loads it as MLflow does: (onnx_model, **save_model's) -> PyFuncModel."""
    import mlflow

    from mlflow_onnx_flavor import flavor

    def save(onnx_model, **how):
        flavor.save_model(onnx_model, tmp_path / "saved", **how)
        return mlflow.pyfunc.load_model(str(tmp_path / "saved"))

    return save
