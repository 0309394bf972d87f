"""Tasks of a participant: a process that holds one model as it is served, and times its answers."""

from __future__ import annotations

import gc
import os
import resource
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np

from mlflow_onnx_flavor.inputs import Inputs

# Calls rotate through this many different batches: one hot array would flatter every cache.
BATCHES = 8

_open: dict[str, Any] = {}


def open_model(
    path: str, provider: dict[str, Any] | None, inputs_path: str, batch_sizes: list[int]
) -> dict[str, float]:
    """Load the model and answer once.

    ``provider``: the candidate's execution provider ({"name", "options"}); None for a source, which
    is loaded as MLflow serves it.  Returns ``load_seconds`` and ``first_call_ms``.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    warnings.filterwarnings("ignore")
    inputs = Inputs.load(Path(inputs_path))
    begun_ns = time.perf_counter_ns()
    predict = _loaded(Path(path), provider)
    load_seconds = (time.perf_counter_ns() - begun_ns) / 1e9
    _open["predict"] = predict
    _open["batches"] = {
        size: [inputs.batch(size, start * size).data for start in range(BATCHES)]
        for size in batch_sizes
    }
    first = _open["batches"][min(batch_sizes)][0]
    begun_ns = time.perf_counter_ns()
    predict(first)
    first_call_ms = (time.perf_counter_ns() - begun_ns) / 1e6
    return {"load_seconds": load_seconds, "first_call_ms": first_call_ms}


def run_block(batch_size: int, calls: int, warmup_calls: int) -> np.ndarray:
    """Nanoseconds of each of ``calls`` calls, shape (calls,).

    ``warmup_calls`` go before and are not timed: they let the threads of the participant before
    come to rest and bring this one's data back into the caches.  Garbage is collected between
    blocks, not within, for every participant alike.
    """
    predict, batches = _open["predict"], _open["batches"][batch_size]
    for number in range(warmup_calls):
        predict(batches[number % len(batches)])
    times = np.empty(calls, dtype=np.int64)
    clock = time.perf_counter_ns
    gc.collect()
    gc.disable()
    try:
        for number in range(calls):
            data = batches[number % len(batches)]
            begun = clock()
            answer = predict(data)
            times[number] = clock() - begun
        del answer
    finally:
        gc.enable()
    return times


def peak_memory() -> int:
    """The largest resident memory of this process so far, in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def _loaded(path: Path, provider: dict[str, Any] | None):
    if path.is_file():
        from mlflow_onnx_flavor.scoring import load_session

        config = {"execution_providers": [provider]} if provider else None
        return load_session(str(path), config).predict
    import mlflow.pyfunc

    if provider is None:
        return mlflow.pyfunc.load_model(str(path)).predict
    config = {"execution_providers": [provider]}
    return mlflow.pyfunc.load_model(str(path), model_config=config).predict
