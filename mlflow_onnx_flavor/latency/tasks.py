"""Tasks of a contestant: a process that holds one model as it is served, and times its answers."""

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
from mlflow_onnx_flavor.latency import arrivals
from mlflow_onnx_flavor.latency.workloads import PYFUNC, SESSION, Workload

# Calls rotate through this many different batches: one hot array would flatter every cache.
BATCHES = 8
MIN_CALLS, MAX_CALLS = 2, 2000
# A call of this length is a block of its own without a warm-up: what a warm-up would mend (caches,
# sleeping threads) takes a millisecond or two.
LONG_CALL_NS = 200_000_000

# A block has as many calls as would fill its time at the pace of the fastest call, so that a few
# slow ones at its start (a thread that waits for a core on a busy machine takes 16 ms to come back)
# do not become its median; if most calls are slow it ends after this many times its time.
MAX_STRETCH = 12.0
# The first estimate of the pace takes this many calls, and this much time at most.
PACE_CALLS, PACE_NS = 30, 500_000_000

# A thread pool spins for a while after its work (onnxruntime's for 30 ms, measured) and takes the
# cores from the process that is timed next.  So the next one begins when this process sleeps: none
# of its threads wants to run, twice in a row.  The limit is for a process that never sleeps, and
# for a system without /proc.
_REST_SLOT_S, _REST_SLOTS, _REST_LIMIT_S = 0.002, 2, 0.2
_THREADS = Path("/proc/self/task")

ARRIVALS_SEED = 20260103

# The batches of one workload take at most this much memory, but there is always one batch.
MOST_BYTES = 256_000_000

# Within a block, the session alone gets this share of the time after the pyfunc.  When a call is
# long, the pyfunc's overhead is too small to measure, and the session is left out.
SESSION_SHARE = 0.25


@dataclass
class Opened:
    """The model of this process; ``answers`` maps each path to the function that answers a call."""

    answers: dict[str, Callable[[Any], Any]]
    inputs: dict[int | None, Inputs]  # by sequence length
    feeds: Callable[[Any], Any] | None = None  # of the session, if it can be called alone
    batches: dict[tuple[str, Workload], list[Any]] = field(default_factory=dict)
    call_ns: dict[tuple[str, Workload], int] = field(default_factory=dict)  # of a recent call
    fastest_ns: dict[tuple[str, Workload], int] = field(default_factory=dict)
    calls: int = 0

    def batches_of(self, path: str, workload: Workload) -> list[Any]:
        """Return different batches of the rows, as feeds for the session; they are made once."""
        if (path, workload) not in self.batches:
            rows = self.inputs[workload.sequence_length]
            size = workload.batch_size
            first = rows.batch(size).data
            number = max(1, min(BATCHES, MOST_BYTES // max(_bytes_of(first), 1)))
            made = [rows.batch(size, at * size).data for at in range(number)]
            if path == SESSION and self.feeds is not None:
                made = [self.feeds(each) for each in made]
            self.batches[path, workload] = made
        return self.batches[path, workload]


_state: dict[str, Opened] = {}


def open_model(
    path: str,
    provider: dict[str, Any] | None,
    inputs: Sequence[tuple[int | None, str]],
    first: dict[str, Any],
    threads: int | None = None,
) -> dict[str, Any]:
    """Load the model and answer once.

    ``provider``: the execution provider to load it on ({"name", "options"}); None to load it as
    MLflow serves it.  ``inputs``: the saved rows by sequence length.  ``first``: the workload of
    the first call.  ``threads``: onnxruntime's number of threads; None to use what the model says.
    Returns ``load_seconds``, which counts the imports of the model's framework but not those of
    MLflow, ``first_call_ms``, ``peak_memory_bytes``, and the ``placement`` of nodes.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    warnings.filterwarnings("ignore")
    rows = {length: Inputs.load(Path(file)) for length, file in inputs}
    load = _loader(Path(path))
    config: dict[str, Any] = {}
    if provider:
        config = {"execution_providers": [provider], "record_placement": True}
    if threads:
        config["session_options"] = {"intra_op_num_threads": threads}
    begun_ns = time.perf_counter_ns()
    model = load(str(path), config or None)
    load_seconds = (time.perf_counter_ns() - begun_ns) / 1e9
    scoring = getattr(model, "_model_impl", model)
    is_session = hasattr(scoring, "feeds") and hasattr(scoring, "session")
    opened = _state["opened"] = Opened({PYFUNC: model.predict}, rows)
    if is_session:
        run = scoring.session.run
        opened.answers[SESSION] = lambda feeds: run(None, feeds)
        opened.feeds = scoring.feeds
    first_call_ms = _timed_call(opened, PYFUNC, Workload(**first)) / 1e6
    gc.collect()
    gc.freeze()  # spares the collector a framework's million objects between blocks
    return {
        "load_seconds": load_seconds,
        "first_call_ms": first_call_ms,
        "peak_memory_bytes": peak_memory(),
        "placement": scoring.placement() if provider and is_session else {},
    }


def meet_workload(workload: dict[str, Any]) -> int:
    """Warm up before the first block: some models compile for every new shape.

    Returns the peak memory so far, in bytes.
    """
    _meet(_state["opened"], PYFUNC, Workload(**workload))
    return peak_memory()


def meet_session(workload: dict[str, Any]) -> bool:
    """Warm up the session alone; return whether it can be called and its share of a call measured.

    The feeds for it take memory that no service needs, so this comes after the peak is read.
    """
    opened, met = _state["opened"], Workload(**workload)
    takes_part = SESSION in opened.answers and opened.call_ns[PYFUNC, met] < LONG_CALL_NS
    if takes_part:
        _meet(opened, SESSION, met)
    return takes_part


def _meet(opened: Opened, path: str, workload: Workload) -> None:
    begun_ns = time.perf_counter_ns()
    times = [_timed_call(opened, path, workload)]
    while len(times) < PACE_CALLS and time.perf_counter_ns() - begun_ns < PACE_NS:
        times.append(_timed_call(opened, path, workload))
    opened.call_ns[path, workload] = opened.fastest_ns[path, workload] = min(times)


def run_block(workload: dict[str, Any], block_ms: float, warmup_ms: float) -> dict[str, np.ndarray]:
    """Return nanoseconds of each call of one block, shape (calls,), by path.

    First come warm-up calls for ``warmup_ms``, at least one, that are not counted: they bring the
    model's data back into the caches and wake its threads.  Timed calls go on for ``block_ms`` at
    the pace of the fastest so far, `MAX_STRETCH` times as long at most.  Then the session alone, if
    there is one, gets `SESSION_SHARE` of that time.  Garbage is collected between blocks, not
    within, for every contestant alike.
    """
    opened, asked = _state["opened"], Workload(**workload)
    times = {}
    gc.collect()
    gc.disable()
    try:
        for path, share in ((PYFUNC, 1.0), (SESSION, SESSION_SHARE)):
            if (path, asked) in opened.call_ns:
                times[path] = _block(opened, path, asked, share * block_ms, share * warmup_ms)
    finally:
        gc.enable()
    return times


def _block(
    opened: Opened, path: str, workload: Workload, block_ms: float, warmup_ms: float
) -> np.ndarray:
    is_long = opened.call_ns[path, workload] >= LONG_CALL_NS
    if not is_long:
        _calls(opened, path, workload, warmup_ms, least=1)
    times = _calls(opened, path, workload, block_ms, least=1 if is_long else MIN_CALLS)
    opened.call_ns[path, workload] = int(np.median(times))
    return times


def answer_arrivals(
    workload: dict[str, Any], rate: float, seconds: float, threads: int
) -> dict[str, Any]:
    """Answer queries that arrive at random, ``rate`` a second: see `arrivals.answer_all`."""
    opened = _state["opened"]
    batches = opened.batches_of(PYFUNC, Workload(**workload))
    call = opened.answers[PYFUNC]

    def answer(number: int) -> None:
        given = call(batches[number % len(batches)])
        if not isinstance(given, _IN_MEMORY):
            np.asarray(given)

    gc.collect()
    return arrivals.answer_all(answer, rate, seconds, threads, ARRIVALS_SEED)


def come_to_rest() -> None:
    """Wait until the threads of this process sleep, `_REST_LIMIT_S` at most."""
    deadline = time.perf_counter() + _REST_LIMIT_S
    quiet = 0
    while quiet < _REST_SLOTS and time.perf_counter() < deadline:
        time.sleep(_REST_SLOT_S)
        quiet = quiet + 1 if threads_at_work() == 0 else 0


def threads_at_work() -> int:
    """Count the threads of this process, without the caller's, that run or wait for a core.

    Their state is exact at once and on a busy machine too, where a thread that spins may get no
    processor time for a while.  Returns 1 on a system without /proc, where the number is unknown.
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
    """Return the largest resident memory of this process so far, in bytes.

    It is read from /proc if that exists: the value that `resource` reports there includes the
    memory of the parent that started this process.
    """
    try:
        status = Path("/proc/self/status").read_text()
    except OSError:
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak if sys.platform == "darwin" else peak * 1024
    line = next(each for each in status.splitlines() if each.startswith("VmHWM:"))
    return int(line.split()[1]) * 1024


def _loader(path: Path) -> Callable[[str, dict[str, Any] | None], Any]:
    """Return a function that loads the model at ``path`` into an object with ``predict``.

    Modules that every model needs are imported already, so that loading does not count them.
    """
    if path.is_file():
        from mlflow_onnx_flavor.scoring import load_session

        return load_session
    import mlflow.pyfunc  # noqa: F401  (imported here so that loading is not timed with it)
    from mlflow.models import Model

    from mlflow_onnx_flavor import frameworks
    from mlflow_onnx_flavor.frameworks.base import pyfunc_of

    flavors = Model.load(str(path)).flavors
    if not frameworks.served_by_mlflow(path, flavors):
        name = frameworks.recognise(flavors)
        flavor = flavors[frameworks.flavor_of(flavors, name)]
        return lambda _folder, _config: frameworks.load(name).load(path, flavor).pyfunc
    return pyfunc_of


def _calls(
    opened: Opened, path: str, workload: Workload, duration_ms: float, least: int
) -> np.ndarray:
    times: list[int] = []
    duration_ns = duration_ms * 1e6
    end = time.perf_counter_ns() + MAX_STRETCH * duration_ns
    fastest = opened.fastest_ns[path, workload]
    while len(times) < least or (
        len(times) * fastest < duration_ns
        and len(times) < MAX_CALLS
        and time.perf_counter_ns() < end
    ):
        times.append(_timed_call(opened, path, workload))
        fastest = min(fastest, times[-1])
    opened.fastest_ns[path, workload] = fastest
    return np.array(times, dtype=np.int64)


def _timed_call(opened: Opened, path: str, workload: Workload) -> int:
    """Return nanoseconds of one call, until its answer is in memory; freeing it is not counted."""
    batches = opened.batches_of(path, workload)
    data = batches[opened.calls % len(batches)]
    opened.calls += 1
    call = opened.answers[path]
    begun = time.perf_counter_ns()
    answer = call(data)
    if not isinstance(answer, _IN_MEMORY):
        np.asarray(answer)  # a lazy answer takes its time when it is read
    return time.perf_counter_ns() - begun


def _bytes_of(data: Any) -> int:
    if isinstance(data, pd.DataFrame):
        return int(data.memory_usage(index=False).sum())
    arrays = data.values() if isinstance(data, dict) else [data]
    return sum(np.asarray(each).nbytes for each in arrays)


_IN_MEMORY = (np.ndarray, pd.DataFrame, pd.Series, dict, list)
