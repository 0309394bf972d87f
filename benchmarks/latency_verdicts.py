"""Repeatability of latency verdicts: a model against itself, and against itself 10 % slower.

    python -m benchmarks.latency_verdicts [--runs 100] [--others 30] [--busy 2] [--threads 2]

Every run starts new processes and decides whether two candidates are more than 5 % slower than the
champion: the same model, and the same model with a pyfunc that spins for a tenth of each call's
time after it.  The first ``--others`` runs compare five methods, in random order:

- paired: this package's measurement and its gate (blocks in turns, interval on one side of 5 %)
- naive p50: one process after the other, calls for half a second, ratio of medians
- 10 + 20 mean: the same, mean of 20 calls after 10 warm-ups (Olive's defaults)
- one call: the same, the first call after one warm-up (Polygraphy's default of one iteration)
- mean of all: the same, mean of all calls (as onnxruntime_perf_test runs a model)

Before that, the cost of taking turns is measured: the p50 of one model alone, of two in turns, and
of two in turns that wait until the other's threads are idle, as `paired` does.  ``--busy`` sets
the number of other processes that compute during all runs.
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

import mlflow
import numpy as np

from mlflow_onnx_flavor import latency
from mlflow_onnx_flavor.artifact.saved_model import CandidateFolder
from mlflow_onnx_flavor.gates import is_judged, judge_latency
from mlflow_onnx_flavor.inputs import Inputs
from mlflow_onnx_flavor.latency.contestants import TASKS
from mlflow_onnx_flavor.latency.rounds import BLOCK_MS, WARMUP_MS
from mlflow_onnx_flavor.latency.statistics import Precision
from mlflow_onnx_flavor.latency.workloads import Workload
from mlflow_onnx_flavor.machine.hardware import environment
from mlflow_onnx_flavor.processes.worker import Worker
from mlflow_onnx_flavor.schemas.configuration import LatencyGate, LatencyOptions
from mlflow_onnx_flavor.schemas.evidence import ExecutionProvider, ModelIdentity

PROVIDER = ExecutionProvider(name="CPUExecutionProvider")
ALONE_MS = 500.0
WARMUP_CALLS, MEAN_CALLS = 10, 20
GATE = LatencyGate(min_speedup=0, max_regression=0.05)
SLOWER = 0.10
ITSELF, SLOWED = "itself", "10 % slower"
PAIRED, NAIVE, MEAN_OF_20 = "paired", "naive p50", "10 + 20 mean"
ONE_CALL, MEAN_OF_ALL = "one call", "mean of all"
OTHERS = {
    NAIVE: np.median,
    MEAN_OF_20: lambda times: times[WARMUP_CALLS : WARMUP_CALLS + MEAN_CALLS].mean(),
    ONE_CALL: lambda times: times[1],
    MEAN_OF_ALL: np.mean,
}
ALONE, TURNS, RESTING = "alone", "in turns", "in turns, at rest"

# A pyfunc that returns the predictions of the model `inner` after spinning for a share of the time
# that the call took.
SLOW_LOADER = """
import time

import mlflow_onnx_flavor.scoring as scoring

SHARE = {share}


class Slow:
    def __init__(self, inner):
        answer = inner.predict

        def predict(data, params=None):
            begun = time.perf_counter_ns()
            given = answer(data)
            end = begun + (1 + SHARE) * (time.perf_counter_ns() - begun)
            while time.perf_counter_ns() < end:
                pass
            return given

        predict.__signature__ = answer.__signature__
        self.predict = predict


def _load_pyfunc(path, model_config=None):
    return Slow(scoring.load_session(path, model_config))
"""


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--runs", type=int, default=20)
    parser.add_argument("--others", type=int, default=10, help="runs with the other methods too")
    parser.add_argument("--busy", type=int, default=0, help="other processes that compute")
    parser.add_argument("--threads", type=int, default=0, help="of onnxruntime; 0: its default")
    parser.add_argument("--batch-size", type=int, action="append", help="default: 1")
    parser.add_argument("--budget-seconds", type=float, default=30.0)
    arguments = parser.parse_args()
    batch_sizes = arguments.batch_size or [1]
    with tempfile.TemporaryDirectory() as folder, _busy(arguments.busy):
        model, inputs = _convnet(Path(folder), arguments.threads)
        slowed = _slowed(model, Path(folder))
        path = inputs.save(Path(folder))
        print(f"{_machine()}; {arguments.busy} busy processes", flush=True)
        _print_turns(_turns(model, path, batch_sizes[0]))
        found = defaultdict(list)
        for number in range(arguments.runs):
            with_others = number < arguments.others
            _one_run(model, slowed, inputs, path, batch_sizes, arguments, with_others, found)
            print(f"run {number + 1} of {arguments.runs}", end="\r", flush=True)
        _print(found, batch_sizes)


def _one_run(model, slowed, inputs, path, batch_sizes, arguments, with_others, found) -> None:
    """Append each method's verdict to ``found[method, candidate, batch size]``."""

    def paired():
        begun = time.perf_counter()
        report = _paired(model, slowed, inputs, batch_sizes, arguments.budget_seconds)
        found["seconds", PAIRED].append(time.perf_counter() - begun)
        gate = GATE.model_copy(update={"batch_sizes": tuple(batch_sizes)})
        rows = {(row.candidate, row.batch_size): row for row in report.rows if is_regression(row)}
        for finding in judge_latency(report, gate):
            if finding.gate == "regression":
                key = finding.candidate, finding.batch_size
                found[PAIRED, *key].append((finding, rows[key].speedup))

    def one_after_the_other():
        begun = time.perf_counter()
        champion, same, slow = (_alone(each, path, batch_sizes) for each in (model, model, slowed))
        found["seconds", NAIVE].append(time.perf_counter() - begun)
        for size in batch_sizes:
            for name, candidate in ((ITSELF, same), (SLOWED, slow)):
                for method, figure in OTHERS.items():
                    ratio = figure(champion[size]) / figure(candidate[size])
                    found[method, name, size].append(float(ratio))

    methods = [paired, one_after_the_other] if with_others else [paired]
    for method in random.sample(methods, len(methods)):
        method()


def is_regression(row) -> bool:
    return row.baseline == "champion" and is_judged(row)


def _paired(model: Path, slowed: Path, inputs: Inputs, batch_sizes, budget_seconds: float):
    identity = ModelIdentity(name="source", uri=str(model), digest="")

    def folder(name, path):
        return CandidateFolder(identity.model_copy(update={"name": name}), path)

    return latency.measure(
        latency.Plan(
            model,
            "onnx",
            [folder(ITSELF, model), folder(SLOWED, slowed)],
            inputs,
            [PROVIDER],
            batch_sizes=batch_sizes,
            confidence=0.95,
            budget_seconds=budget_seconds,
            source_identity=identity,
            champion=folder("champion", model),
            precision=Precision.for_gate(GATE),
            options=LatencyOptions(offline_batch_sizes=()),
        )
    )


def _slowed(model: Path, folder: Path) -> Path:
    """Return the model, served by a pyfunc that takes a tenth longer."""
    slowed, code = folder / "slowed", folder / "slow_loader.py"
    code.write_text(SLOW_LOADER.format(share=SLOWER))
    mlflow.pyfunc.save_model(
        str(slowed),
        loader_module="slow_loader",
        data_path=str(model),
        code_paths=[str(code)],
        pip_requirements=[],
    )
    return slowed


def _alone(model: Path, path: Path, batch_sizes: Sequence[int]) -> dict[int, np.ndarray]:
    """Return the nanoseconds of each call of a process running alone, by batch size."""
    with _opened(model, path, batch_sizes) as worker:
        return {size: _block(worker, size, ALONE_MS, 0.0) for size in batch_sizes}


def _turns(model: Path, path: Path, batch_size: int, rounds: int = 20) -> dict[str, list[float]]:
    """Return the p50 of blocks in each arrangement of the same two processes, in milliseconds.

    The key ``(arrangement, "other")`` holds the processor milliseconds that the other process used
    in the meantime.
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
    """Return the processor time of all threads of a process so far, in milliseconds."""
    threads = Path(f"/proc/{pid}/task").iterdir()
    return sum(int((each / "schedstat").read_text().split()[0]) for each in threads) / 1e6


@contextmanager
def _opened(model: Path, path: Path, batch_sizes: Sequence[int]) -> Iterator[Worker]:
    with Worker() as worker:
        opening = {
            "path": model,
            "provider": PROVIDER.model_dump(),
            "inputs": [[None, path]],
            "first": Workload(min(batch_sizes)).as_arguments(),
        }
        worker.call(f"{TASKS}:open_model", opening)
        for size in batch_sizes:
            worker.call(f"{TASKS}:meet_workload", {"workload": Workload(size).as_arguments()})
        yield worker


def _block(worker: Worker, batch_size: int, block_ms: float, warmup_ms: float) -> np.ndarray:
    arguments = {
        "workload": Workload(batch_size).as_arguments(),
        "block_ms": block_ms,
        "warmup_ms": warmup_ms,
    }
    return worker.call(f"{TASKS}:run_block", arguments)["pyfunc"]


def _convnet(folder: Path, threads: int) -> tuple[Path, Inputs]:
    """Return a net of three 3 x 3 convolutions on 3 x 32 x 32 images: parallel work under 1 ms."""
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
    """Run other processes that compute, within the context."""
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
    while True:  # in bursts, like a server of requests on the same machine
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


def _print(found, batch_sizes: Sequence[int]) -> None:
    limit = 1 - GATE.max_regression
    for size in batch_sizes:
        for name, right in ((ITSELF, "passes"), (SLOWED, "is caught")):
            verdicts = found[PAIRED, name, size]
            passed = sum(finding.passed for finding, _ in verdicts)
            undecided = sum("not enough" in finding.reason for finding, _ in verdicts)
            ratios = [each.estimate for _, each in verdicts if each is not None]
            number = passed if name == ITSELF else len(verdicts) - passed
            print(f"\n{name}, batch size {size}: how often it {right}; ratio, its variation")
            print(
                f"  {PAIRED:<13} {number:3} of {len(verdicts)}, {undecided} for want of evidence;"
                f" {statistics.median(ratios):.3f} [{min(ratios):.3f}, {max(ratios):.3f}],"
                f" {_variation(ratios):.1%}"
            )
            intervals = [each for _, each in verdicts if each is not None]
            truth = 1.0 if name == ITSELF else 1 / (1 + SLOWER)
            covering = sum(each.low <= truth <= each.high for each in intervals)
            width = statistics.median((each.high - each.low) / 2 for each in intervals)
            print(
                f"    95 % intervals: {covering} of {len(intervals)} cover it, median ±{width:.1%}"
            )
            for method in OTHERS:
                ratios = found[method, name, size]
                if ratios:
                    fine = sum(ratio >= limit for ratio in ratios)
                    number = fine if name == ITSELF else len(ratios) - fine
                    print(
                        f"  {method:<13} {number:3} of {len(ratios)};"
                        f" {statistics.median(ratios):.3f} [{min(ratios):.3f},"
                        f" {max(ratios):.3f}], {_variation(ratios):.1%}"
                    )
    for method in (PAIRED, NAIVE):
        if found["seconds", method]:
            print(f"\nseconds a run, {method}: {statistics.median(found['seconds', method]):.1f}")


def _variation(values: Sequence[float]) -> float:
    return statistics.stdev(values) / statistics.mean(values) if len(values) > 1 else 0.0


if __name__ == "__main__":
    logging.getLogger("mlflow").setLevel(logging.ERROR)
    main()
