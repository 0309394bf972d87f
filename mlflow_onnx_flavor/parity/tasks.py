"""Tasks of a candidate worker: open one candidate on one provider, and answer with it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from mlflow_onnx_flavor.artifact.saved_model import graph_file
from mlflow_onnx_flavor.comparison import pyfunc_output
from mlflow_onnx_flavor.comparison.batches import joined
from mlflow_onnx_flavor.errors import ExecutionProviderError
from mlflow_onnx_flavor.frameworks.base import pyfunc_of
from mlflow_onnx_flavor.inputs import Inputs
from mlflow_onnx_flavor.onnx_graph.outputs import as_arrays
from mlflow_onnx_flavor.onnx_graph.precision import arithmetic_of
from mlflow_onnx_flavor.parity.divergence import (
    ExposedGraph,
    first_divergence,
    known_of_layers,
)
from mlflow_onnx_flavor.scoring.runtimes import CPU

# Threads that wait for work by spinning take the cores from the source, which answers at the same
# time: on 32,768 rows of a forest that is two fifths of the candidate's processor time.  No answer
# depends on it.
_SESSION_OPTIONS = {
    "config_entries": {
        "session.intra_op.allow_spinning": "0",
        "session.inter_op.allow_spinning": "0",
    }
}

_open: dict[str, Any] = {}


def open_candidate(path: str, provider: dict[str, Any]) -> dict[str, Any]:
    """Open a model folder or an ``.onnx`` file on ``provider``.

    ``provider``: {"name", "options"}, and "session_options" if some are set.
    Returns where its nodes were placed and the graph's arithmetic:
    ``{"placement": {provider: nodes}, "arithmetic": {"dtype": "float32", "terms": 40}}``.
    Raises ExecutionProviderError if the provider does not start.
    """
    from mlflow_onnx_flavor.scoring import ExecutionProviderUnavailable, load_session

    config = {
        "execution_providers": [provider],
        "session_options": _without(_SESSION_OPTIONS, provider.get("session_options") or {}),
        "record_placement": True,
    }
    _open.clear()
    try:
        session = load_session(path, config)
    except ExecutionProviderUnavailable as error:
        raise ExecutionProviderError(str(error)) from error
    _open.update(session=session, path=Path(path), provider=provider)
    arithmetic = asdict(arithmetic_of(graph_file(path)))
    return {"placement": session.placement(), "arithmetic": arithmetic}


def run(inputs_path: str, batch_size: int, rows: int) -> dict[str, Any]:
    """Return outputs by name on the first ``rows`` rows, in batches of ``batch_size``.

    The form is ``{"outputs": {name: array}}``.  The last batch is as short as the rows that are
    left.  A first batch that is not full is padded with rows from the start, whose answers are
    dropped, and so is the last if the graph fixes the batch size.
    Raises UnsupportedModelError for an output that cannot be joined over batches.
    """
    inputs = Inputs.load(Path(inputs_path))
    session = _open["session"]
    parts: dict[str, list[np.ndarray]] = {}
    fixed = _fixes_the_batch(session.session)
    for start in range(0, rows, batch_size):
        wanted = min(batch_size, rows - start)
        asked = wanted if start and not fixed else batch_size
        answered = session.run(inputs.batch(asked, start).data)
        for name, array in as_arrays(answered, graph_file(_open["path"])).items():
            # An output without a row per input row stays as it is.
            parts.setdefault(name, []).append(array[:wanted] if len(array) == asked else array)
    return {"outputs": {name: joined(name, arrays) for name, arrays in parts.items()}}


def locate(
    inputs_path: str, rows: list[int], tolerance: float, reference: dict[str, Any]
) -> dict[str, Any] | None:
    """Return where the open candidate leaves ``reference`` on some rows, or None.

    The result is a `Divergence` as JSON.  ``reference``: ``{"what": words}`` with "path", a file
    with values of the same names to run on the CPU; or with "layers", the answers of the source's
    layers on these rows, by name.
    """
    inputs = Inputs.load(Path(inputs_path)).take(rows)
    feeds = _open["session"].feeds(inputs.data)
    file = graph_file(_open["path"])
    graph = ExposedGraph(file, _opener(_open["provider"]), feeds)
    if "layers" in reference:
        known: Any = known_of_layers(graph, reference["layers"], reference["what"])
    else:
        other = graph_file(reference["path"])
        known = ExposedGraph(other, _opener({"name": CPU}), feeds, reference["what"])
    found = first_divergence(graph, known, tolerance)
    return None if found is None else found.model_dump(mode="json")


def _opener(provider: dict[str, Any]) -> Callable[[str], Any]:
    from mlflow_onnx_flavor.scoring.opening import open_session

    return lambda file: open_session(file, [provider], provider.get("session_options") or {})


def _without(ours: Mapping[str, Any], asked: Mapping[str, Any]) -> dict[str, Any]:
    """Return ``ours`` without the configuration entries that ``asked`` sets."""
    entries = asked.get("config_entries") or {}
    return {
        name: {key: each for key, each in values.items() if key not in entries}
        for name, values in ours.items()
    }


def answer(inputs_path: str, rows: int) -> dict[str, Any]:
    """Return the answer of the candidate's pyfunc, loaded by MLflow, on the first ``rows`` rows."""
    # Scoring code that was logged with earlier models looks for them only here.
    options = _open["provider"].get("session_options") or {}
    config = {"execution_providers": [_open["provider"]], "session_options": options}
    model = pyfunc_of(_open["path"], config)
    data = Inputs.load(Path(inputs_path)).take(slice(0, rows)).data
    return pyfunc_output.describe(model.predict(data))


def _fixes_the_batch(session: Any) -> bool:
    return any(each.shape and isinstance(each.shape[0], int) for each in session.get_inputs())
