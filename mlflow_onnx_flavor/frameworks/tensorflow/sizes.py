"""Comparison of a TensorFlow graph with its model at other sizes than those of the example.

A layer may branch in Python on a shape; tracing keeps the branch of the example alone.  A graph
that differs from its model is refused.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np

from mlflow_onnx_flavor.errors import NotExportableError
from mlflow_onnx_flavor.frameworks.base import Export, LoadedSource
from mlflow_onnx_flavor.frameworks.other_sizes import alike, of_other_sizes
from mlflow_onnx_flavor.frameworks.tensorflow.calls import call_of
from mlflow_onnx_flavor.inputs import Inputs
from mlflow_onnx_flavor.schemas.graph import GraphSpec, PredictionSpec
from mlflow_onnx_flavor.scoring import open_graph

log = logging.getLogger(__name__)


def refuse_other_answers(
    source: LoadedSource, example: Inputs, path: Path, export: Export
) -> Export:
    """Return ``export``, whose file is at ``path``, if it agrees with the model at every size.

    Raises NotExportableError if they differ.  Sizes that the model itself rejects are skipped.
    """
    every_output = PredictionSpec(container="dict", parts=())  # unused: the graph is only run
    graph = GraphSpec(feeds=export.feeds, outputs=export.outputs, prediction=every_output)
    session = open_graph(str(path), graph.model_dump(mode="json"))
    keys = {feed.name: feed.key for feed in export.feeds}
    for what, rows in of_other_sizes(example, session.session, keys):
        expected = _expected(source, rows)
        if expected is None:
            continue
        found = _found(session, rows)
        wrong = [
            name
            for name, array in expected.items()
            if name not in found or not alike(array, np.asarray(found[name]))
        ]
        if wrong and not what and not _leaves_sizes_open(session.session):
            return export  # the sizes are not the cause of the difference
        if wrong:
            place = f"for {what or 'the example itself'}, {wrong[0]!r}"
            size = "the size of the batch" if what.startswith("a batch") else "an open size"
            raise NotExportableError(
                f"{place} is not what the model answers: a layer asks for {size} in Python, which"
                " tracing settles once; take it out of its branches, or log the model with that"
                " size in its signature"
            )
    return export


def _leaves_sizes_open(session: Any) -> bool:
    shapes = (value.shape[1:] for value in session.get_inputs())
    return any(not isinstance(size, int) for shape in shapes for size in shape)


def _expected(source: LoadedSource, rows: Inputs) -> dict[str, np.ndarray] | None:
    try:
        return call_of(source, rows).answers()
    except Exception:  # whatever a layer raises on a size that it does not take
        log.info("the model does not take this size", exc_info=True)
        return None


def _found(session: Any, rows: Inputs) -> dict[str, Any]:
    """Return the outputs of the file; an empty dict if it fails, as with a fixed inner shape."""
    try:
        return session.run(rows.data)
    except Exception:  # onnxruntime's errors have no common base class
        log.info("the exported file fails", exc_info=True)
        return {}
