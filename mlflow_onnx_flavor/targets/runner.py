"""Tasks of a process that has only a target: open an exported model, and answer with it."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from mlflow_onnx_flavor import targets
from mlflow_onnx_flavor.comparison.batches import joined

Arrays = Mapping[str, np.ndarray]

_open: dict[str, Any] = {}


def open_target(target: str, folder: str) -> dict[str, Any]:
    """Open the exported model, in this process alone; return the versions of its libraries."""
    chosen = targets.get(target)
    opened(chosen.load(Path(folder)))
    return chosen.versions()


def opened(run: Any) -> None:
    """Set ``run`` as the function that answers from now on."""
    _open["run"] = run


def answers(inputs: Arrays, batch_size: int) -> dict[str, Any]:
    """Return ``{"outputs": arrays by name}`` for all rows, in batches of ``batch_size``.

    The last batch may be shorter.
    """
    rows = _rows(inputs)
    parts: dict[str, list[np.ndarray]] = {}
    for start in range(0, rows, batch_size):
        batch = {name: array[start : start + batch_size] for name, array in inputs.items()}
        for name, array in _run()(batch).items():
            parts.setdefault(name, []).append(np.atleast_1d(array))
    return {"outputs": {name: joined(name, each) for name, each in parts.items()}}


def seconds(inputs: Arrays, batch_size: int, budget_s: float) -> float:
    """Return the median time of one call of ``batch_size`` rows, which are repeated as needed."""
    at = np.arange(batch_size) % _rows(inputs)
    batch, run = {name: array[at] for name, array in inputs.items()}, _run()
    times: list[Any] = []
    run(batch)
    end = time.perf_counter() + budget_s
    while time.perf_counter() < end or len(times) < 5:
        begun = time.perf_counter_ns()
        run(batch)
        times.append(time.perf_counter_ns() - begun)
    return float(np.median(times)) / 1e9


def _run() -> Any:
    return _open["run"]


def _rows(inputs: Arrays) -> int:
    return len(next(iter(inputs.values())))
