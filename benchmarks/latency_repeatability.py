"""How repeatable is a latency ratio?  A model against itself: the right answer is 1.

    python -m benchmarks.latency_repeatability [--runs 10] [--busy 2] [--threads 2] [--model FOLDER]

Every run starts new processes.  Side by side in each run, in random order:

- paired: this package's measurement (blocks in turns, ratio of each round, bootstrap interval)
- naive p50: one process after the other, a second of calls each, ratio of their medians
- 10 + 20 mean: the same, with the mean of 20 calls after 10 warm-ups (as Olive's defaults do)

Before that, what taking turns costs the models: p50 of one alone, of two in turns, and of two in
turns that wait until the other's threads have come to rest, which is what `paired` does.
``--busy`` lets so many other processes compute all the while.
"""

from __future__ import annotations

import argparse
import logging
import multiprocessing
import random
import statistics
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import numpy as np

from mlflow_onnx_flavor import latency
from mlflow_onnx_flavor.candidates.folder import CandidateFolder
from mlflow_onnx_flavor.environment import environment
from mlflow_onnx_flavor.evidence import ExecutionProvider, Interval, ModelIdentity
from mlflow_onnx_flavor.inputs import Inputs
from mlflow_onnx_flavor.latency.participants import TASKS
from mlflow_onnx_flavor.latency.rounds import BLOCK_MS, WARMUP_MS
from mlflow_onnx_flavor.worker import Worker

PROVIDER = ExecutionProvider(name="CPUExecutionProvider")
ALONE_MS = 1000.0
WARMUP_CALLS, MEAN_CALLS = 10, 20
REGRESSION = 0.05
PAIRED, NAIVE, MEAN_OF_20 = "paired", "naive p50", "10 + 20 mean"
ALONE, TURNS, RESTING = "alone", "in turns", "in turns, at rest"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--runs", type=int, default=10)
    parser.add_argument("--busy", type=int, default=0, help="other processes that compute")
    parser.add_argument("--threads", type=int, default=0, help="of onnxruntime; 0: its default")
    parser.add_argument("--batch-size", type=int, action="append", help="default: 1 and 8")
    parser.add_argument("--budget-seconds", type=float, default=30.0)
    parser.add_argument("--model", type=Path, help="a folder with MLmodel and input example")
    arguments = parser.parse_args()
    batch_sizes = arguments.batch_size or [1, 8]
    with tempfile.TemporaryDirectory() as folder, _busy(arguments.busy):
        model, inputs = _given(arguments.model) or _convnet(Path(folder), arguments.threads)
        path = inputs.save(Path(folder))
        print(f"{_machine()}; {arguments.busy} busy processes", flush=True)
        _print_turns(_turns(model, path, batch_sizes[0]))
        ratios = defaultdict(list)
        for number in range(arguments.runs):
            _one_run(model, inputs, path, batch_sizes, arguments.budget_seconds, ratios)
            print(f"run {number + 1} of {arguments.runs}", end="\r", flush=True)
        _print(ratios, batch_sizes)


def _one_run(model, inputs, path, batch_sizes, budget_seconds, ratios) -> None:
    """Append to ``ratios[method, batch size]``: an interval of `paired`, a number of the others."""

    def paired():
        begun = time.perf_counter()
        report = _paired(model, inputs, batch_sizes, budget_seconds)
        ratios["seconds", PAIRED].append(time.perf_counter() - begun)
        for row in report.rows:
            ratios[PAIRED, row.batch_size].append(row.speedup)

    def one_after_the_other():
        begun = time.perf_counter()
        first, second = (_alone(model, path, batch_sizes) for _ in range(2))
        ratios["seconds", NAIVE].append(time.perf_counter() - begun)
        for size in batch_sizes:
            ratios[NAIVE, size].append(np.median(first[size]) / np.median(second[size]))
            ratios[MEAN_OF_20, size].append(_mean_of_20(first[size]) / _mean_of_20(second[size]))

    for method in random.sample([paired, one_after_the_other], 2):
        method()


def _paired(model: Path, inputs: Inputs, batch_sizes: Sequence[int], budget_seconds: float):
    identity = ModelIdentity(name="source", uri=str(model), digest="")
    return latency.measure(
        model,
        "onnx",
        [CandidateFolder(identity.model_copy(update={"name": "itself"}), model)],
        inputs,
        [PROVIDER],
        batch_sizes=batch_sizes,
        confidence=0.95,
        budget_seconds=budget_seconds,
        source_identity=identity,
    )


def _alone(model: Path, path: Path, batch_sizes: Sequence[int]) -> dict[int, np.ndarray]:
    """Nanoseconds of each call of a process that has the machine to itself, by batch size."""
    with _opened(model, path, batch_sizes) as worker:
        return {size: _block(worker, size, ALONE_MS, 0.0) for size in batch_sizes}


def _mean_of_20(times_ns: np.ndarray) -> float:
    return float(times_ns[WARMUP_CALLS : WARMUP_CALLS + MEAN_CALLS].mean())


def _turns(model: Path, path: Path, batch_size: int, rounds: int = 20) -> dict[str, list[float]]:
    """Of blocks in each arrangement, all of the same two processes: p50 in milliseconds, and under
    ``(arrangement, "other")`` the processor milliseconds that the other process took meanwhile.
    """
    measured = defaultdict(list)
    with ExitStack() as stack:
        first, second = (stack.enter_context(_opened(model, path, [batch_size])) for _ in range(2))
        for _ in range(rounds):
            for arrangement in random.sample([ALONE, TURNS, RESTING], 3):
                for worker in (first, second):
                    worker.call(f"{TASKS}:come_to_rest")
                if arrangement != ALONE:
                    _block(second, batch_size, BLOCK_MS, WARMUP_MS)
                if arrangement == RESTING:
                    second.call(f"{TASKS}:come_to_rest")
                before_ms = _processor_ms(second.pid)
                times = _block(first, batch_size, BLOCK_MS, WARMUP_MS)
                measured[arrangement].append(float(np.median(times)) / 1e6)
                measured[arrangement, "other"].append(_processor_ms(second.pid) - before_ms)
    return measured


def _processor_ms(pid: int) -> float:
    """Processor time of all threads of a process so far."""
    threads = Path(f"/proc/{pid}/task").iterdir()
    return sum(int((each / "schedstat").read_text().split()[0]) for each in threads) / 1e6


@contextmanager
def _opened(model: Path, path: Path, batch_sizes: Sequence[int]) -> Iterator[Worker]:
    with Worker() as worker:
        opening = {
            "path": model,
            "provider": PROVIDER.model_dump(),
            "inputs_path": path,
            "batch_sizes": list(batch_sizes),
        }
        worker.call(f"{TASKS}:open_model", opening)
        for size in batch_sizes:
            worker.call(f"{TASKS}:meet_batch_size", {"batch_size": size})
        yield worker


def _block(worker: Worker, batch_size: int, block_ms: float, warmup_ms: float) -> np.ndarray:
    arguments = {"batch_size": batch_size, "block_ms": block_ms, "warmup_ms": warmup_ms}
    return worker.call(f"{TASKS}:run_block", arguments)


def _given(model: Path | None) -> tuple[Path, Inputs] | None:
    if model is None:
        return None
    from mlflow_onnx_flavor.inputs import input_example
    from mlflow_onnx_flavor.sources import resolve_source

    source = resolve_source(str(model))
    return source.folder, input_example(source.metadata, source.folder, source.signature)


def _convnet(folder: Path, threads: int) -> tuple[Path, Inputs]:
    """Three 3 x 3 convolutions on 3 x 32 x 32 images: parallel work of a fraction of a ms."""
    from onnx import TensorProto, helper, numpy_helper

    from mlflow_onnx_flavor import flavor

    generator = np.random.default_rng(0)
    channels, nodes, weights, last = 3, [], [], "x"
    for layer in range(3):
        weight = generator.normal(0, 0.2, (16, channels, 3, 3)).astype(np.float32)
        weights.append(numpy_helper.from_array(weight, f"w{layer}"))
        nodes.append(helper.make_node("Conv", [last, f"w{layer}"], [f"c{layer}"], pads=[1] * 4))
        nodes.append(helper.make_node("Relu", [f"c{layer}"], [f"r{layer}"]))
        channels, last = 16, f"r{layer}"
    nodes.append(helper.make_node("GlobalAveragePool", [last], ["pooled"]))
    nodes.append(helper.make_node("Flatten", ["pooled"], ["y"]))
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["rows", 3, 32, 32])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["rows", 16])
    graph = helper.make_graph(nodes, "convnet", [x], [y], weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    options = {"intra_op_num_threads": threads} if threads else None
    flavor.save_model(model, folder / "model", session_options=options)
    return folder / "model", Inputs(generator.normal(size=(64, 3, 32, 32)).astype(np.float32))


@contextmanager
def _busy(count: int) -> Iterator[None]:
    """So many processes that compute until the end."""
    processes = [multiprocessing.Process(target=_compute, daemon=True) for _ in range(count)]
    for process in processes:
        process.start()
    try:
        yield
    finally:
        for process in processes:
            process.terminate()


def _compute() -> None:
    values = np.random.default_rng(0).normal(size=200_000)
    while True:  # in bursts, as a neighbour that serves requests
        for _ in range(random.randrange(1, 200)):
            np.sort(values)
        time.sleep(random.random() / 2)


def _machine() -> str:
    where = environment()
    return f"{where.cpu}, {where.cores_allowed} cores, onnxruntime {where.versions['onnxruntime']}"


def _print_turns(measured: dict) -> None:
    print(f"\np50 of a {BLOCK_MS:g} ms block, in ms: median [min, max], coefficient of variation")
    for arrangement in (ALONE, TURNS, RESTING):
        values = measured[arrangement]
        print(
            f"  {arrangement:<18} {statistics.median(values):.4f}"
            f" [{min(values):.4f}, {max(values):.4f}] {_variation(values):6.1%}, the other process"
            f" took {statistics.median(measured[arrangement, 'other']):.1f} ms of processor time"
        )


def _print(ratios, batch_sizes: Sequence[int]) -> None:
    for size in batch_sizes:
        print(f"\nratio of a model to itself, batch size {size}: median [min, max]")
        for method in (PAIRED, NAIVE, MEAN_OF_20):
            results = ratios[method, size]
            measured = [each for each in results if each is not None]
            values = [each.estimate if isinstance(each, Interval) else each for each in measured]
            lows = [each.low if isinstance(each, Interval) else each for each in measured]
            print(
                f"  {method:<13} {statistics.median(values):.3f} [{min(values):.3f},"
                f" {max(values):.3f}]  variation {_variation(values):5.1%}"
                f"  no regression beyond {REGRESSION:.0%}: "
                f"{sum(low >= 1 - REGRESSION for low in lows)} of {len(results)}"
            )
        intervals = [each for each in ratios[PAIRED, size] if each is not None]
        covering = sum(each.low <= 1 <= each.high for each in intervals)
        width = statistics.median((each.high - each.low) / 2 for each in intervals)
        print(f"  its 95 % intervals: {covering} of {len(intervals)} cover 1, median ±{width:.1%}")
    for method in (PAIRED, NAIVE):
        seconds = statistics.median(ratios["seconds", method])
        print(f"\nseconds a run, {method}: {seconds:.1f}", end="")
    print(" (10 + 20 mean is read from the same calls)")


def _variation(values: Sequence[float]) -> float:
    return statistics.stdev(values) / statistics.mean(values) if len(values) > 1 else 0.0


if __name__ == "__main__":
    logging.getLogger("mlflow").setLevel(logging.ERROR)
    main()
