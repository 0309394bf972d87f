"""Tasks of a participant: a process that holds one model as it is served, and times its answers."""

from __future__ import annotations

import gc
import os
import resource
import sys
import threading
import time
import warnings
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from mlflow_onnx_flavor.inputs import Inputs

# Calls rotate through this many different batches: one hot array would flatter every cache.
BATCHES = 8
MIN_CALLS, MAX_CALLS = 2, 2000
# A call of this length is a block of its own without a warm-up: what a warm-up would mend (caches,
# sleeping threads) is a matter of a millisecond or two.
LONG_CALL_NS = 200_000_000

# A block is so many calls as would fill its time at the pace of the fastest call, so that a few
# slow ones at its start (a thread that waits for a core on a busy machine takes 16 ms to come back)
# do not become its median; where most calls are slow it ends after this many times its time.
MAX_STRETCH = 12.0
# The pace is first known from so many calls, in so much time at most.
PACE_CALLS, PACE_NS = 30, 500_000_000

# A thread pool spins for a while after its work (onnxruntime's for 30 ms, measured) and takes the
# cores from whoever is timed next.  So the next one begins when this process has come to rest: no
# thread of it wants to run, twice in a row.  The limit is for a process that never rests, and for a
# system without /proc.
_REST_SLOT_S, _REST_SLOTS, _REST_LIMIT_S = 0.002, 2, 0.2
_THREADS = Path("/proc/self/task")


@dataclass
class _Opened:
    predict: Callable[[Any], Any]
    batches: dict[int, list[Any]]
    call_ns: dict[int, int] = field(default_factory=dict)  # batch size -> a recent call
    fastest_ns: dict[int, int] = field(default_factory=dict)  # batch size -> the fastest call
    calls: int = 0


_state: dict[str, _Opened] = {}


def open_model(
    path: str, provider: dict[str, Any] | None, inputs_path: str, batch_sizes: Sequence[int]
) -> dict[str, float]:
    """Load the model and answer once.

    ``provider``: the execution provider to load it on ({"name", "options"}); None to load it as
    MLflow serves it.  Returns ``load_seconds``, which counts the imports of the model's framework
    but not MLflow's own, and ``first_call_ms``, of the smallest batch.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    warnings.filterwarnings("ignore")
    inputs = Inputs.load(Path(inputs_path))
    load = _loader(Path(path))
    begun_ns = time.perf_counter_ns()
    predict = load(str(path), {"execution_providers": [provider]} if provider else None)
    load_seconds = (time.perf_counter_ns() - begun_ns) / 1e9
    batches = {
        size: [inputs.batch(size, number * size).data for number in range(BATCHES)]
        for size in batch_sizes
    }
    opened = _state["opened"] = _Opened(predict, batches)
    first_call_ms = _timed_call(opened, min(batch_sizes)) / 1e6
    gc.collect()
    gc.freeze()  # a framework's million objects are not looked through again between blocks
    return {
        "load_seconds": load_seconds,
        "first_call_ms": first_call_ms,
        "peak_memory_bytes": peak_memory(),
    }


def meet_batch_size(batch_size: int) -> int:
    """Answer before the first block: some models compile for every shape that is new.

    Returns the peak memory so far, in bytes.
    """
    opened = _state["opened"]
    begun_ns = time.perf_counter_ns()
    times = [_timed_call(opened, batch_size)]
    while len(times) < PACE_CALLS and time.perf_counter_ns() - begun_ns < PACE_NS:
        times.append(_timed_call(opened, batch_size))
    opened.call_ns[batch_size] = opened.fastest_ns[batch_size] = min(times)
    return peak_memory()


def run_block(batch_size: int, block_ms: float, warmup_ms: float) -> np.ndarray:
    """Nanoseconds of each call of one block, shape (calls,).

    Calls go on for ``block_ms`` at the pace of the fastest so far, `MAX_STRETCH` times as long at
    most, after some for ``warmup_ms``, at least one, that are not counted: they bring the model's
    data back into the caches and its own threads awake.  Garbage is collected between blocks, not
    within, for every participant alike.
    """
    opened = _state["opened"]
    is_long = opened.call_ns[batch_size] >= LONG_CALL_NS
    gc.collect()
    gc.disable()
    try:
        if not is_long:
            _calls(opened, batch_size, warmup_ms, least=1)
        times = _calls(opened, batch_size, block_ms, least=1 if is_long else MIN_CALLS)
    finally:
        gc.enable()
    opened.call_ns[batch_size] = int(np.median(times))
    return times


def come_to_rest() -> None:
    """Wait until the threads of this process sleep, `_REST_LIMIT_S` at most."""
    deadline = time.perf_counter() + _REST_LIMIT_S
    quiet = 0
    while quiet < _REST_SLOTS and time.perf_counter() < deadline:
        time.sleep(_REST_SLOT_S)
        quiet = quiet + 1 if threads_at_work() == 0 else 0


def threads_at_work() -> int:
    """Threads of this process, but for the caller's, that run or wait for a core.

    Their state tells it at once and on a busy machine too, where a thread that spins may get no
    processor time for a while.  One, as far as is known, on a system without /proc.
    """
    if not _THREADS.is_dir():
        return 1
    own = str(threading.get_native_id())
    states = []
    for thread in _THREADS.iterdir():
        with suppress(FileNotFoundError, ProcessLookupError):  # it ended meanwhile
            if thread.name != own:
                states.append((thread / "stat").read_text().rpartition(")")[2].split()[0])
    return states.count("R")


def peak_memory() -> int:
    """The largest resident memory of this process so far, in bytes.

    From /proc where it exists: what `resource` tells there includes the memory of the parent that
    started this process.
    """
    try:
        status = Path("/proc/self/status").read_text()
    except OSError:
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak if sys.platform == "darwin" else peak * 1024
    line = next(each for each in status.splitlines() if each.startswith("VmHWM:"))
    return int(line.split()[1]) * 1024


def _loader(path: Path) -> Callable[[str, dict[str, Any] | None], Callable[[Any], Any]]:
    """How a model at ``path`` is loaded, with what every model needs imported already."""
    if path.is_file():
        from mlflow_onnx_flavor.scoring import load_session

        return lambda file, config: load_session(file, config).predict
    import mlflow.pyfunc
    from mlflow.models import Model

    from mlflow_onnx_flavor import frameworks

    flavors = Model.load(str(path)).flavors
    if not frameworks.served_by_mlflow(path, flavors):
        name = frameworks.recognise(flavors)
        flavor = flavors[frameworks.flavor_of(flavors, name)]
        return lambda _folder, _config: frameworks.get(name).load(path, flavor).pyfunc.predict
    return lambda folder, config: mlflow.pyfunc.load_model(folder, model_config=config).predict


def _calls(opened: _Opened, batch_size: int, duration_ms: float, least: int) -> np.ndarray:
    times: list[int] = []
    duration_ns = duration_ms * 1e6
    end = time.perf_counter_ns() + MAX_STRETCH * duration_ns
    fastest = opened.fastest_ns[batch_size]
    while len(times) < least or (
        len(times) * fastest < duration_ns
        and len(times) < MAX_CALLS
        and time.perf_counter_ns() < end
    ):
        times.append(_timed_call(opened, batch_size))
        fastest = min(fastest, times[-1])
    opened.fastest_ns[batch_size] = fastest
    return np.array(times, dtype=np.int64)


def _timed_call(opened: _Opened, batch_size: int) -> int:
    """Nanoseconds of one call, until its answer is there in memory; freeing it is not counted."""
    batches = opened.batches[batch_size]
    data = batches[opened.calls % len(batches)]
    opened.calls += 1
    begun = time.perf_counter_ns()
    answer = opened.predict(data)
    if not isinstance(answer, _IN_MEMORY):
        np.asarray(answer)  # a lazy answer costs its time when it is read
    return time.perf_counter_ns() - begun


_IN_MEMORY = (np.ndarray, pd.DataFrame, pd.Series, dict, list)
