"""What the tests share: a store of their own, and source models logged as users log them."""

from __future__ import annotations

import logging
import os
import shutil
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tests.made_once import made_once, migrate
from tests.started_processes import started, watch

warnings.filterwarnings("ignore", category=UserWarning, module="mlflow")

ROWS = 64
TESTS = Path(__file__).parent
# Each test has one of these markers: its own or its file's, or by its folder or fixtures as below.
# What needs most stands first; pyproject.toml says what each means.
KINDS = ("release", "server", "catalogue", "process", "unit")
BY_FOLDER = {"frameworks": "catalogue"}
BY_FIXTURE = {"classifier_onnx": "process"}


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    """Give each test its kind; those that take long begin first, so no core waits in the end."""
    order = {}
    for item in items:
        kind = _kind(item)
        if item.get_closest_marker(kind) is None:
            item.add_marker(kind)
        order[item.path] = min(order.get(item.path, len(KINDS)), KINDS.index(kind))
    items.sort(key=lambda item: order[item.path])


def _kind(item) -> str:
    kinds = [marker.name for marker in item.iter_markers() if marker.name in KINDS]
    folder = item.path.relative_to(TESTS).parts[0]
    kinds += [BY_FOLDER[folder]] if folder in BY_FOLDER else []
    kinds += [BY_FIXTURE[name] for name in item.fixturenames if name in BY_FIXTURE]
    return kinds[0] if kinds else "unit"


watch()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_setup(item):
    started.clear()
    return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item):
    """A unit test that starts a process, itself or in a fixture, is none."""
    result = yield
    if started and _kind(item) == "unit":
        pytest.fail(f"marked `unit`, it started {started[0]}: mark it `process`")
    return result


@pytest.fixture(scope="session", autouse=True)
def _quiet_mlflow():
    for name in ("mlflow", "alembic"):
        logging.getLogger(name).setLevel(logging.ERROR)
    os.environ["MLFLOW_LOGGING_LEVEL"] = "ERROR"


@pytest.fixture(scope="session")
def shared_folder(tmp_path_factory) -> Path:
    """A folder that all processes of this session share."""
    own = tmp_path_factory.getbasetemp()
    return own.parent if "PYTEST_XDIST_WORKER" in os.environ else own


@pytest.fixture(scope="session")
def new_store(shared_folder):
    """Makes empty SQLite stores: (folder) -> URI."""
    template = made_once(shared_folder / "empty-store", migrate) / "mlflow.db"

    def make(folder: Path) -> str:
        shutil.copyfile(template, folder / "mlflow.db")
        return f"sqlite:///{folder / 'mlflow.db'}"

    return make


@pytest.fixture(scope="session")
def store(tmp_path_factory, new_store) -> str:
    """A SQLite store with its artifacts, used by the whole session."""
    import mlflow

    folder = tmp_path_factory.mktemp("store")
    uri = new_store(folder)
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
def classifier_folder(shared_folder, frame, labels) -> Path:
    """A scikit-learn classifier with text labels, as mlflow.sklearn saves it."""
    import mlflow
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    def make(folder: Path) -> None:
        model = make_pipeline(StandardScaler(), LogisticRegression()).fit(frame, labels)
        mlflow.sklearn.save_model(
            model,
            str(folder),
            signature=mlflow.models.infer_signature(frame, model.predict(frame)),
            input_example=frame.head(5),
            serialization_format="cloudpickle",
            pip_requirements=["scikit-learn"],
        )

    return made_once(shared_folder / "classifier", make)


@pytest.fixture(scope="session")
def classifier_onnx(shared_folder, classifier_folder, frame):
    """The classifier's conversion."""
    from mlflow_onnx_flavor import api
    from mlflow_onnx_flavor.conversion.convert import Conversion

    def make(folder: Path) -> None:
        conversion = api.convert(str(classifier_folder), frame, output_dir=folder)
        (folder / "conversion.json").write_text(conversion.model_dump_json())

    made = made_once(shared_folder / "classifier-onnx", make) / "conversion.json"
    return Conversion.model_validate_json(made.read_text())


@pytest.fixture(scope="session")
def candidate_folder(shared_folder, classifier_onnx, classifier_folder) -> Path:
    """The classifier's conversion, saved with this flavor."""
    from mlflow.models import Model

    from mlflow_onnx_flavor import flavor

    def make(folder: Path) -> None:
        flavor.save_model(
            classifier_onnx.path,
            folder,
            graph=classifier_onnx.graph,
            signature=Model.load(str(classifier_folder)).signature,
        )

    return made_once(shared_folder / "converted", make)


@pytest.fixture
def saved(tmp_path):
    """Saves a model and loads it as MLflow does: (onnx_model, **save_model's) -> PyFuncModel."""
    import mlflow

    from mlflow_onnx_flavor import flavor

    def save(onnx_model, **how):
        flavor.save_model(onnx_model, tmp_path / "saved", **how)
        return mlflow.pyfunc.load_model(str(tmp_path / "saved"))

    return save
