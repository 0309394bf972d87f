"""scikit-learn: estimators and pipelines as `mlflow.sklearn` stores them, through skl2onnx.

Outputs: "label" and "probabilities" of a classifier, "prediction" of everything else.  A
transformer, which MLflow logs without a pyfunc, has its transform as "prediction".
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from mlflow_onnx_flavor.errors import UnsupportedModelError
from mlflow_onnx_flavor.frameworks.base import (
    Export,
    Framework,
    LoadedSource,
    MoreRows,
    Strategy,
    no_more_rows,
    pyfunc_of,
)
from mlflow_onnx_flavor.frameworks.catboost import alone
from mlflow_onnx_flavor.frameworks.sklearn.parts import naming_parts
from mlflow_onnx_flavor.frameworks.tabular import (
    all_numeric,
    class_labels,
    column_feeds,
    is_array_of_texts,
    matrix_feed,
    skl2onnx_types,
    text_feed,
    width,
)
from mlflow_onnx_flavor.inputs import Inputs
from mlflow_onnx_flavor.onnx_graph.edit import answer_as, plain_attributes, save
from mlflow_onnx_flavor.schemas.graph import FeedSpec

LABEL, PROBABILITIES, PREDICTION = "label", "probabilities", "prediction"
TRANSFORM = "transform"
_ANSWER_OF = {"predict": None, "predict_proba": PROBABILITIES, TRANSFORM: PREDICTION}


class ScikitLearn(Framework):
    """The scikit-learn framework, through skl2onnx."""

    def load(self, path: Path, flavor: Mapping[str, Any]) -> LoadedSource:
        """Load what `mlflow.sklearn` stored: skops with its trusted types, or a pickle."""
        import mlflow.sklearn

        native = mlflow.sklearn.load_model(str(path))
        if hasattr(native, "predict"):
            return LoadedSource(native, pyfunc_of(path), path, flavor)
        if not hasattr(native, TRANSFORM):
            raise UnsupportedModelError(
                f"{type(native).__name__} has no predict or transform method, so there is nothing"
                " to convert; put it into a pipeline that ends in an estimator"
            )
        return LoadedSource(native, _Transforming(native), path, flavor)

    def reference_outputs(self, source: LoadedSource, inputs: Inputs) -> dict[str, np.ndarray]:
        """Return "label" and, if the classifier has them, "probabilities"; else "prediction"."""
        model = source.native
        if _asked_method(source.pyfunc) == TRANSFORM:
            # For one row, some transformers (SparsePCA) return one axis.
            return {PREDICTION: _dense(model.transform(inputs.data)).reshape(inputs.rows, -1)}
        answer = np.asarray(model.predict(inputs.data))
        if not _is_classifier(model):
            return {PREDICTION: answer}
        if not _has_probabilities(model):
            return {LABEL: answer}
        return {LABEL: answer, PROBABILITIES: np.asarray(model.predict_proba(inputs.data))}

    def classes(self, source: LoadedSource) -> tuple[str, ...]:
        """Return the classes of a classifier of one label."""
        return class_labels(source.native)

    def strategies(
        self, source: LoadedSource, example: Inputs, evaluation: MoreRows = no_more_rows
    ) -> list[Strategy]:
        """Return the strategies, those of one matrix before those of one input per column.

        Float32 comes before float64.  The matrix is possible only if all columns are numbers.
        """
        if alone.is_it(source.native):
            return alone.strategies(source, example, evaluation, _answer(source))
        found: list[Strategy] = []
        if is_array_of_texts(example):
            found.append(_strategy(source, "text", "one input of texts", text_feed(), example))
        if all_numeric(example):
            for dtype in ("float32", "float64"):
                found.append(
                    _strategy(
                        source, f"{dtype}_matrix", _why(dtype), matrix_feed(example, dtype), example
                    )
                )
        if isinstance(example.data, pd.DataFrame):
            for dtype in ("float32", "float64"):
                feeds = tuple(column_feeds(example.data, dtype, keep_integers=False))
                why = f"one input per column; {_why(dtype)}"
                found.append(_strategy(source, f"{dtype}_columns", why, feeds, example))
            feeds = tuple(column_feeds(example.data, "float32", keep_integers=True))
            if any(feed.dtype == "int64" for feed in feeds):
                why = "one input per column; integers stay integers"
                found.append(_strategy(source, "typed_columns", why, feeds, example))
        return found


class _Transforming:
    """A pyfunc of a transformer, which MLflow does not provide."""

    def __init__(self, native: Any):
        self._native = native

    def predict(self, data: Any) -> Any:
        answer = self._native.transform(data)
        return answer if isinstance(answer, pd.DataFrame) else _dense(answer)


def _why(dtype: str) -> str:
    if dtype == "float32":
        return "the smallest and fastest"
    return "for models whose numbers float32 cannot hold"


def _strategy(
    source: LoadedSource, name: str, why: str, feeds: tuple[FeedSpec, ...], example: Inputs
) -> Strategy:
    def export(path: Path) -> Export:
        return _export(source, feeds, example, path)

    return Strategy(name, why, export, "skl2onnx")


def _export(
    source: LoadedSource, feeds: tuple[FeedSpec, ...], example: Inputs, path: Path
) -> Export:
    import skl2onnx

    from mlflow_onnx_flavor.frameworks.boosting.steps import register_boosted_steps
    from mlflow_onnx_flavor.frameworks.sklearn.converters.estimators_graph import (
        last_step,
        takes_zipmap,
    )
    from mlflow_onnx_flavor.frameworks.sklearn.converters.rounded_rows import mark_rounded
    from mlflow_onnx_flavor.frameworks.sklearn.converters.truth_values import truth_values_in

    model = source.native
    register_boosted_steps(model)
    transforms = _asked_method(source.pyfunc) == TRANSFORM
    # Pass a dictionary in any case, and no options of a pipeline, with which skl2onnx would
    # copy the dictionary: converters must see the options that parsers add to it.
    last = last_step(model)
    classifies = _is_classifier(model) and not transforms
    options = {id(last): {"zipmap": False}} if classifies and takes_zipmap(last) else {}
    columns = width(example) if feeds[0].layout != "column" else None
    initial_types = skl2onnx_types(feeds, columns)
    mark_rounded(initial_types, example.data)
    with plain_attributes(), naming_parts(model), truth_values_in(example.data):
        exported = skl2onnx.to_onnx(
            model,
            initial_types=initial_types,
            options=options,
            target_opset=target_opset(),
        )
    found = [each.name for each in exported.graph.output]
    names = (LABEL, PROBABILITIES) if _has_probabilities(model) else (LABEL,)
    # skl2onnx puts label and probabilities, or the prediction, first and in this order.
    if classifies:
        named = dict(zip(found, names, strict=False))
    else:
        ndim = framework.reference_outputs(source, example)[PREDICTION].ndim
        named = answer_as(exported, found[0], PREDICTION, ndim)
    outputs = save(exported, path, named)
    return Export(feeds=feeds, outputs=outputs, prediction=(_answer(source),))


def target_opset() -> dict[str, int]:
    """Return the newest opsets that exporter and runtime both support."""
    import skl2onnx

    return {"": min(skl2onnx.__max_supported_opset__, 21), "ai.onnx.ml": 3}


def _asked_method(pyfunc: Any) -> str:
    """Return the method that the pyfunc calls."""
    if isinstance(pyfunc, _Transforming):
        return TRANSFORM
    return pyfunc.metadata.flavors["python_function"].get("predict_fn", "predict")


def _dense(answer: Any) -> np.ndarray:
    """Return a matrix; a sparse one as dense, a frame as its values."""
    return answer.toarray() if hasattr(answer, "toarray") else np.asarray(answer)


def _answer(source: LoadedSource) -> str:
    """Return the output that the pyfunc returns."""
    method = _asked_method(source.pyfunc)
    if method not in _ANSWER_OF:
        raise UnsupportedModelError(
            f"the model was logged with pyfunc_predict_fn={method!r}, which has no ONNX form here;"
            " log it with 'predict' or 'predict_proba'"
        )
    return _ANSWER_OF[method] or (LABEL if _is_classifier(source.native) else PREDICTION)


def _is_classifier(model: Any) -> bool:
    from sklearn.base import is_classifier

    return is_classifier(model)


def _has_probabilities(model: Any) -> bool:
    """Return whether the model is a classifier of one output with predict_proba."""
    classes = getattr(model, "classes_", None)
    several_outputs = isinstance(classes, list)
    return _is_classifier(model) and hasattr(model, "predict_proba") and not several_outputs


framework = ScikitLearn()
