"""Tasks of a candidate worker: open one candidate on one provider, and answer with it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from mlflow_onnx_flavor import answers
from mlflow_onnx_flavor.errors import ExecutionProviderError
from mlflow_onnx_flavor.inputs import Inputs

_open: dict[str, Any] = {}


def open_candidate(path: str, provider: dict[str, Any]) -> dict[str, Any]:
    """Open a model folder or an ``.onnx`` file on ``provider`` ({"name", "options"}).

    Returns where its nodes were placed: ``{"placement": {provider: nodes}}``.
    """
    from mlflow_onnx_flavor.scoring import ExecutionProviderUnavailable, load_session

    config = {"execution_providers": [provider], "record_placement": True}
    _open.clear()
    try:
        _open.update(session=load_session(path, config), path=Path(path), provider=provider)
    except ExecutionProviderUnavailable as error:
        raise ExecutionProviderError(str(error)) from error
    return {"placement": _open["session"].placement()}


def run(inputs_path: str, batch_size: int, rows: int) -> dict[str, Any]:
    """``{"outputs": {name: array}}`` on the first ``rows`` rows, in batches of ``batch_size``.

    A batch that is not full is filled up with rows from the start, whose answers are dropped.
    """
    inputs = Inputs.load(Path(inputs_path))
    session = _open["session"]
    parts: list[dict[str, np.ndarray]] = []
    for start in range(0, rows, batch_size):
        wanted = min(batch_size, rows - start)
        outputs = session.run(inputs.batch(batch_size, start).data)
        parts.append({name: _rows(array, batch_size, wanted) for name, array in outputs.items()})
    names = parts[0]
    return {"outputs": {name: np.concatenate([part[name] for part in parts]) for name in names}}


def answer(inputs_path: str, rows: int) -> dict[str, Any]:
    """What the candidate's pyfunc answers on the first ``rows`` rows, loaded as MLflow loads it."""
    import mlflow.pyfunc

    config = {"execution_providers": [_open["provider"]]}
    model = mlflow.pyfunc.load_model(str(_open["path"]), model_config=config)
    data = Inputs.load(Path(inputs_path)).take(slice(0, rows)).data
    return answers.describe(model.predict(data))


def _rows(array: np.ndarray, batch_size: int, wanted: int) -> np.ndarray:
    """The rows that were asked for; an output without a row per input row stays as it is."""
    return array[:wanted] if len(array) == batch_size else array
