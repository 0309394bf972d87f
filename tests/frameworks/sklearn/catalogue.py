"""scikit-learn's own catalogue: every estimator of `all_estimators()`, fitted, with unseen rows.

Each is fitted on 150 rows of iris with a little noise and asked for rows that it has not seen, as
float32 and as float64.  Right means equal labels, and numbers within 1e-4 of the source's
(relative where they are beyond 1).
"""

from __future__ import annotations

import inspect
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import make_pipeline
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor
from sklearn.utils import all_estimators

from mlflow_onnx_flavor.errors import OnnxFlavorError
from mlflow_onnx_flavor.inputs import Inputs
from tests.frameworks.in_process import converted, save_estimator, session_of

KINDS = ("classifier", "regressor", "cluster", "transformer")
DTYPES = (np.float32, np.float64)
OF_CATEGORIES = {"OneHotEncoder", "OrdinalEncoder", "TargetEncoder"}
ON_CLASSES = {"LinearDiscriminantAnalysis", "NeighborhoodComponentsAnalysis"}
# They need something else than a matrix of numbers and a target.
FOREIGN = {
    "CountVectorizer", "DictVectorizer", "FeatureHasher", "HashingVectorizer", "LabelBinarizer",
    "LabelEncoder", "MultiLabelBinarizer", "PatchExtractor", "TfidfVectorizer",
}  # fmt: skip


def estimators(kind: str, only: list[str] | None = None) -> Iterator[tuple[str, Any]]:
    """Yield each estimator's name and a function that fits it: dtype -> (model, unseen rows)."""
    for name, estimator in all_estimators(kind):
        predicts = hasattr(estimator, "predict" if kind != "transformer" else "transform")
        if predicts and name not in FOREIGN and (not only or name in only):
            yield name, lambda dtype, made=estimator, name=name: _fitted(name, made, kind, dtype)


def _fitted(name: str, estimator: Any, kind: str, dtype: Any) -> tuple[Any, np.ndarray]:
    noise = np.random.default_rng(0)
    classifies = kind == "classifier" or (kind == "transformer" and "Classifier" in name)
    flowers, species = load_iris(return_X_y=True)
    rows = (flowers + noise.normal(size=flowers.shape) * 1e-3).astype(dtype)
    amount = flowers[:, 0] * 2 + flowers[:, 1] ** 2 + noise.normal(size=150) * 0.1
    given = {
        "estimator": LogisticRegression() if classifies else Ridge(),
        "estimators": [
            ("a", LogisticRegression() if classifies else Ridge()),
            ("b", (DecisionTreeClassifier if classifies else DecisionTreeRegressor)(max_depth=3)),
        ],
        "transformers": [("all", "passthrough", [0, 1, 2, 3])],
        "transformer_list": [("all", "passthrough")],
    }
    parameters = inspect.signature(estimator).parameters
    needed = {
        key: value
        for key, value in given.items()
        if key in parameters and parameters[key].default is inspect.Parameter.empty
    }
    target: Any = np.array(["setosa", "versicolor", "virginica"], object)[species]
    if not classifies:
        target = amount
    if name in ("ClassifierChain", "MultiOutputClassifier"):
        target = np.c_[species > 0, species > 1].astype(int)
    elif name in ("FixedThresholdClassifier", "TunedThresholdClassifierCV"):
        target = (species > 0).astype(int)
    elif "Multi" in name or name in ("CCA", "PLSCanonical", "PLSSVD", "RegressorChain"):
        target = target if classifies else np.c_[amount, amount**2]
    elif name in ON_CLASSES:
        target = np.array(["setosa", "versicolor", "virginica"], object)[species]
    if name in OF_CATEGORIES:
        rows = np.round(rows)
    if name == "MissingIndicator":
        rows[::7, 1] = np.nan
    if name == "KernelCenterer":
        rows = rows @ rows.T
    if name == "SparseCoder":
        needed["dictionary"] = np.eye(4) + 0.1
    if "RandomProjection" in name:
        needed["n_components"] = 2
    if name == "SelfTrainingClassifier":
        needed["estimator"] = LogisticRegression()
    model = estimator(**needed)
    if "random_state" in parameters:
        model.set_params(random_state=0)
    if name == "IsotonicRegression":
        rows = rows[:, :1]
    if name == "RadiusNeighborsClassifier":
        model.set_params(radius=3.0)
    with np.errstate(all="ignore"):
        model.fit(rows, target)
    unseen = rows[::-1][:60] + noise.normal(size=(60, rows.shape[1])).astype(dtype) * dtype(1e-2)
    return model, rows if name in OF_CATEGORIES or name == "KernelCenterer" else unseen


def ours(model: Any, rows: np.ndarray, transforms: bool) -> str:
    """Return what is wrong with our conversion; "" where nothing is."""
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "source"
        if transforms and hasattr(model, "predict"):  # MLflow would serve its prediction
            model = make_pipeline(model, "passthrough")
        save_estimator(model, rows, source)
        try:
            conversion, _ = converted(
                source, "sklearn", Inputs(rows[:5]), Inputs(rows), Path(folder) / "out"
            )
            found = session_of(conversion).run(rows)
        except OnnxFlavorError as error:
            return first_line(error)
    return difference(expected_answers(model, rows, transforms), list(found.values()))


def expected_answers(model: Any, rows: np.ndarray, transforms: bool) -> list[np.ndarray]:
    if transforms:
        answer = model.transform(rows)
        return [answer.toarray() if hasattr(answer, "toarray") else np.asarray(answer)]
    answers = [np.asarray(model.predict(rows))]
    if hasattr(model, "predict_proba") and answers[0].ndim == 1:
        answers.append(np.asarray(model.predict_proba(rows)))
    return answers


def difference(expected: list[np.ndarray], found: list[Any]) -> str:
    for source, answer in zip(expected, found, strict=False):
        answer = np.asarray(answer)
        if source.size != answer.size:
            return f"shape {answer.shape} where the source gives {source.shape}"
        answer = answer.reshape(source.shape)
        if source.dtype.kind not in "fiub":
            if (source.astype(str) != answer.astype(str)).any():
                return "labels differ"
            continue
        error = np.abs(source.astype(float) - answer.astype(float)) / np.maximum(np.abs(source), 1)
        if not (error[~np.isnan(source.astype(float))] < 1e-4).all():
            return f"largest error {np.nanmax(error):.1e}"
    return ""


def first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0][:300]
