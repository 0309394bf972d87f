"""scikit-learn's own catalogue: what the plain skl2onnx call gets right, and what we do.

    python -m benchmarks.sklearn_catalogue [--kind classifier] [--only RidgeClassifier ...]

Each of `all_estimators()` is fitted on 150 rows of iris with a little noise and asked for rows that
it has not seen, as float32 and as float64.  Right means equal labels, and numbers within 1e-4 of
the source's (relative where they are beyond 1).  The plain call is `to_onnx(model, X[:1])`.
"""

from __future__ import annotations

import argparse
import inspect
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

KINDS = ("classifier", "regressor", "cluster", "transformer")
DTYPES = (np.float32, np.float64)
OF_CATEGORIES = {"OneHotEncoder", "OrdinalEncoder", "TargetEncoder"}
ON_CLASSES = {"LinearDiscriminantAnalysis", "NeighborhoodComponentsAnalysis"}
# Of those that need something else than a matrix of numbers and a target.
FOREIGN = {
    "CountVectorizer", "DictVectorizer", "FeatureHasher", "HashingVectorizer", "LabelBinarizer",
    "LabelEncoder", "MultiLabelBinarizer", "PatchExtractor", "TfidfVectorizer",
}  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kind", choices=KINDS, action="append")
    parser.add_argument("--only", nargs="+", metavar="NAME")
    arguments = parser.parse_args()
    warnings.filterwarnings("ignore")
    kinds = arguments.kind or KINDS
    fitted = {kind: list(_all_fitted(kind, arguments.only)) for kind in kinds}
    # All of the plain calls first: ours changes what skl2onnx knows in this process.
    counts = {
        (who, kind, dtype): _right(who, kind, fitted[kind], dtype)
        for who in (plain, ours)
        for kind in kinds
        for dtype in DTYPES
    }
    print("\nkind          fitted   plain float32   plain float64    ours float32    ours float64")
    for kind in kinds:
        cells = [counts[who, kind, dtype] for who in (plain, ours) for dtype in DTYPES]
        names = {name for name, _, _, _ in fitted[kind]}
        print(f"{kind:<12}{len(names):>8}" + "".join(f"{each:>16}" for each in cells))


def _all_fitted(kind: str, only: list[str] | None) -> Iterator[tuple[str, Any, Any, np.ndarray]]:
    """Name, dtype, model and unseen rows."""
    for name, fit in estimators(kind, only):
        for dtype in DTYPES:
            try:
                model, rows = fit(dtype)
            except (TypeError, ValueError) as error:
                print(f"{name} was not fitted: {_first_line(error)}")
                break
            yield name, dtype, model, rows


def _right(who: Any, kind: str, fitted: list, dtype: Any) -> int:
    right = 0
    for name, fitted_on, model, rows in fitted:
        if fitted_on is dtype:
            cause = who(model, rows, kind == "transformer")
            right += not cause
            if cause and who is ours:
                print(f"not right: {name} on {np.dtype(dtype)}: {cause}")
    return right


def estimators(kind: str, only: list[str] | None = None) -> Iterator[tuple[str, Any]]:
    """Name of each estimator, and a function that fits it: dtype -> (model, unseen rows)."""
    from sklearn.utils import all_estimators

    for name, estimator in all_estimators(kind):
        predicts = hasattr(estimator, "predict" if kind != "transformer" else "transform")
        if predicts and name not in FOREIGN and (not only or name in only):
            yield name, lambda dtype, made=estimator, name=name: _fitted(name, made, kind, dtype)


def _fitted(name: str, estimator: Any, kind: str, dtype: Any) -> tuple[Any, np.ndarray]:
    from sklearn.datasets import load_iris
    from sklearn.linear_model import LogisticRegression, Ridge
    from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

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


def plain(model: Any, rows: np.ndarray, transforms: bool) -> str:
    """What is wrong with skl2onnx's default call; "" where nothing is."""
    import onnxruntime
    import skl2onnx

    try:
        exported = skl2onnx.to_onnx(model, rows[:1], options=_without_maps(model))
        session = onnxruntime.InferenceSession(exported.SerializeToString())
        found = session.run(None, {session.get_inputs()[0].name: rows})
    except Exception as error:  # whatever the exporter or the runtime raises: it is not right
        return f"{type(error).__name__}: {_first_line(error)}"
    return _difference(_expected(model, rows, transforms), found)


def ours(model: Any, rows: np.ndarray, transforms: bool) -> str:
    """What is wrong with our conversion; "" where nothing is."""
    import mlflow
    from sklearn.pipeline import make_pipeline

    from mlflow_onnx_flavor import scoring
    from mlflow_onnx_flavor.conversion.convert import convert_model
    from mlflow_onnx_flavor.errors import OnnxFlavorError
    from mlflow_onnx_flavor.inputs import Inputs
    from mlflow_onnx_flavor.source import tasks as source_worker

    with tempfile.TemporaryDirectory() as folder:
        if transforms and hasattr(model, "predict"):  # MLflow would serve its prediction
            model = make_pipeline(model, "passthrough")
        mlflow.sklearn.save_model(
            model,
            f"{folder}/source",
            signature=mlflow.models.infer_signature(rows),
            serialization_format="cloudpickle",
            pip_requirements=[],
        )
        try:
            worker = _InProcess(Path(folder), source_worker)
            conversion = convert_model(
                Path(folder), "sklearn", Inputs(rows[:5]), Inputs(rows), Path(folder), worker=worker
            )
            session = scoring.open_graph(
                str(conversion.path), conversion.graph.model_dump(mode="json")
            )
            found = session.run(rows)
        except OnnxFlavorError as error:
            return _first_line(error)
    return _difference(_expected(model, rows, transforms), list(found.values()))


class _InProcess:
    """Stands in for a source worker: the catalogue is harmless and starting 170 takes minutes."""

    framework, source_env, differences = "sklearn", "current", ()

    def __init__(self, folder: Path, tasks: Any):
        self._folder, self._tasks = folder, tasks
        self.versions = tasks.load(str(folder / "source"), "sklearn")["versions"]

    def call(self, task: str, timeout_s: float = 0.0, **arguments: Any) -> Any:
        from mlflow_onnx_flavor.errors import OnnxFlavorError, WorkerTaskError

        try:
            return getattr(self._tasks, task)(**arguments)
        except OnnxFlavorError:
            raise
        except Exception as error:
            raise WorkerTaskError(f"{type(error).__name__}: {error}") from error

    def path_of(self, inputs: Any) -> Path:
        return inputs.save(self._folder / inputs.digest()[:16])


def _expected(model: Any, rows: np.ndarray, transforms: bool) -> list[np.ndarray]:
    if transforms:
        answer = model.transform(rows)
        return [answer.toarray() if hasattr(answer, "toarray") else np.asarray(answer)]
    answers = [np.asarray(model.predict(rows))]
    if hasattr(model, "predict_proba") and answers[0].ndim == 1:
        answers.append(np.asarray(model.predict_proba(rows)))
    return answers


def _difference(expected: list[np.ndarray], found: list[Any]) -> str:
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


def _without_maps(model: Any) -> dict[Any, Any] | None:
    from sklearn.base import is_classifier

    return {id(model): {"zipmap": False}} if is_classifier(model) else None


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0][:300]


if __name__ == "__main__":
    main()
