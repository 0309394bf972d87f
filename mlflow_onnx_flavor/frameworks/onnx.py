"""ONNX itself: models logged with `mlflow.onnx` or with this flavor, and bare ``.onnx`` files.

Outputs: those of the graph, under their own names.  The graph is checked and never changed.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from mlflow_onnx_flavor.frameworks.base import Export, LoadedSource, Strategy
from mlflow_onnx_flavor.graph_spec import FeedSpec
from mlflow_onnx_flavor.inputs import Inputs
from mlflow_onnx_flavor.onnx_files import copy_model
from mlflow_onnx_flavor.scoring import ScoringSession, load_session
from mlflow_onnx_flavor.scoring.feeds import inferred_feeds

flavor = "onnx"
extra = "all"
modules = ("onnx", "onnxruntime")
distributions = ("onnx", "onnxruntime", "numpy")


def load(path: Path, flavor: Mapping[str, Any]) -> LoadedSource:
    """Open the graph on the CPU; a folder also as MLflow's pyfunc."""
    config = {"execution_providers": ["CPUExecutionProvider"]}
    pyfunc = None
    if path.is_dir():
        import mlflow.pyfunc

        pyfunc = mlflow.pyfunc.load_model(str(path))
    return LoadedSource(load_session(str(path), config), pyfunc, path, flavor)


def reference_outputs(source: LoadedSource, inputs: Inputs) -> dict[str, np.ndarray]:
    """Every output of the graph."""
    session: ScoringSession = source.native
    if isinstance(inputs.data, pd.DataFrame) and len(session.input_names) > 1:
        return session.run({name: inputs.data[[name]].to_numpy() for name in session.input_names})
    return session.run(inputs.data)


def strategies(source: LoadedSource, example: Inputs) -> list[Strategy]:
    """One: the graph as it is."""

    def export(path: Path) -> Export:
        return _copy(source, example, path)

    return [Strategy("as_is", "the model is ONNX already; it is checked", export, "onnx")]


def _copy(source: LoadedSource, example: Inputs, path: Path) -> Export:
    import onnx

    file = source.path
    if file.is_dir():
        file = file / source.flavor["data"]
    onnx.checker.check_model(str(file))
    copy_model(file, path)
    outputs = tuple(source.native.output_names)
    return Export(feeds=_feeds(source, example), outputs=outputs, prediction=outputs)


def _feeds(source: LoadedSource, example: Inputs) -> tuple[FeedSpec, ...]:
    recorded = (source.flavor.get("graph") or {}).get("feeds")
    if recorded:
        return tuple(FeedSpec.model_validate(each) for each in recorded)
    feeds = inferred_feeds(source.native.session.get_inputs())
    data = example.data
    if not isinstance(data, pd.DataFrame):
        return tuple(FeedSpec(**feed, key=feed["name"]) for feed in feeds)
    columns = tuple(map(str, data.columns))
    if len(feeds) == 1:
        return (FeedSpec(**(feeds[0] | {"layout": "matrix"}), columns=columns),)
    return tuple(
        FeedSpec(**(feed | {"layout": "column"}), columns=(feed["name"],)) for feed in feeds
    )
