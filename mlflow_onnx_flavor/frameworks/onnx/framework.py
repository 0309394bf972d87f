"""ONNX models, logged with `mlflow.onnx` or with this flavor, and bare ``.onnx`` files.

The outputs are those of the graph, under their own names.  The graph is checked and never changed.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import mlflow.pyfunc
import numpy as np
import onnx
import pandas as pd
from mlflow.models import Model

from mlflow_onnx_flavor.frameworks.base import (
    Export,
    Framework,
    LoadedSource,
    MoreRows,
    Strategy,
    no_more_rows,
    pyfunc_of,
)
from mlflow_onnx_flavor.inputs import Inputs
from mlflow_onnx_flavor.onnx_graph.files import copy_model
from mlflow_onnx_flavor.onnx_graph.outputs import as_arrays
from mlflow_onnx_flavor.schemas.graph import FeedSpec
from mlflow_onnx_flavor.scoring import ScoringSession, load_session
from mlflow_onnx_flavor.scoring.entry import FLAVOR
from mlflow_onnx_flavor.scoring.feeds import Feeder, inferred_feeds
from mlflow_onnx_flavor.scoring.runtimes import CPU


class Onnx(Framework):
    """The framework of ONNX models, which are checked and never changed."""

    def load(self, path: Path, flavor: Mapping[str, Any]) -> LoadedSource:
        """Open the graph on the CPU, and the model in a folder also as MLflow's pyfunc."""
        session = load_session(str(path), {"execution_providers": [CPU]})
        pyfunc = _RowsKept(_pyfunc(path, session)) if path.is_dir() else None
        return LoadedSource(session, pyfunc, path, flavor)

    def reference_outputs(self, source: LoadedSource, inputs: Inputs) -> dict[str, np.ndarray]:
        """Return every output of the graph by name, as arrays."""
        session = source.native.session
        feeder = Feeder([feed.model_dump() for feed in _feeds(source, inputs)])
        arrays = session.run(None, feeder.feeds(inputs.data))
        names = [value.name for value in session.get_outputs()]
        return as_arrays(dict(zip(names, arrays, strict=True)), _file(source))

    def strategies(
        self, source: LoadedSource, example: Inputs, evaluation: MoreRows = no_more_rows
    ) -> list[Strategy]:
        """Return the single strategy: a copy of the graph."""

        def export(path: Path) -> Export:
            return _copy(source, example, path)

        return [Strategy("as_is", "the model is ONNX already; it is checked", export, "onnx")]


class _RowsKept:
    """MLflow's pyfunc, with an error unless there is one output row for each input row.

    The built-in flavor flattens every output for a DataFrame, so that an output of several columns
    comes back with rows and columns interleaved (mlflow/mlflow#12539).
    """

    def __init__(self, pyfunc: Any):
        self._pyfunc, self.metadata = pyfunc, pyfunc.metadata

    def predict(self, data: Any, params: dict[str, Any] | None = None) -> Any:
        """Return the pyfunc's predictions; raise ValueError if the number of rows differs."""
        answer = self._pyfunc.predict(data, params)
        if isinstance(answer, pd.DataFrame) and len(answer) != len(data):
            raise ValueError(
                f"the built-in flavor answers {len(data)} rows with {len(answer)}; it flattens"
                " outputs of several columns"
            )
        return answer


def _pyfunc(path: Path, session: ScoringSession) -> Any:
    """Return the model as MLflow serves it.

    A model of this flavor is served by the installed scoring code, so that no code of the artifact
    is run.
    """
    metadata = Model.load(str(path))
    if FLAVOR in metadata.flavors:
        return mlflow.pyfunc.PyFuncModel(metadata, session)
    return pyfunc_of(path)


def _copy(source: LoadedSource, example: Inputs, path: Path) -> Export:
    file = _file(source)
    onnx.checker.check_model(str(file))
    copy_model(file, path)
    outputs = tuple(source.native.output_names)
    return Export(feeds=_feeds(source, example), outputs=outputs, prediction=outputs)


def _file(source: LoadedSource) -> Path:
    return source.path / source.flavor["data"] if source.path.is_dir() else source.path


def _feeds(source: LoadedSource, inputs: Inputs) -> tuple[FeedSpec, ...]:
    """Return the feeds that this flavor recorded, or else those of the built-in flavor.

    The built-in flavor feeds a single graph input with all columns, and each of several inputs with
    the column of its name.
    """
    recorded = (source.flavor.get("graph") or {}).get("feeds")
    if recorded:
        return tuple(FeedSpec.model_validate(each) for each in recorded)
    taken = source.native.session.get_inputs()
    tensors = tuple(
        FeedSpec(name=feed["name"], layout="tensor", dtype=feed["dtype"], key=feed["name"])
        for feed in inferred_feeds(taken)
    )
    if not isinstance(inputs.data, pd.DataFrame):
        return tensors
    if len(tensors) == 1:
        columns = tuple(map(str, inputs.data.columns))
        return (_of_columns(tensors[0], "matrix", columns),)
    return tuple(
        # An input of another rank takes one value a row, or the arrays within the column.
        _of_columns(feed, "column", (feed.name,)) if len(value.shape) == 2 else feed
        for value, feed in zip(taken, tensors, strict=True)
    )


def _of_columns(feed: FeedSpec, layout: str, columns: tuple[str, ...]) -> FeedSpec:
    return FeedSpec(name=feed.name, layout=layout, dtype=feed.dtype, columns=columns)


framework = Onnx()
