"""Proof: compare an exported model with its ONNX model, each in its own process."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from mlflow_onnx_flavor.artifact.saved_model import graph_file
from mlflow_onnx_flavor.comparison.label_ties import tied_rows
from mlflow_onnx_flavor.comparison.matching import compare_all
from mlflow_onnx_flavor.errors import OnnxFlavorError, WorkerError, one_line
from mlflow_onnx_flavor.gates.parity import findings_on_parity
from mlflow_onnx_flavor.inputs import Inputs
from mlflow_onnx_flavor.onnx_graph.precision import arithmetic_of
from mlflow_onnx_flavor.processes.worker import PRELOADED, Worker
from mlflow_onnx_flavor.schemas.configuration import ParityGate
from mlflow_onnx_flavor.schemas.evidence import ExecutionProvider, ParityRow
from mlflow_onnx_flavor.schemas.verdict import Finding
from mlflow_onnx_flavor.source.probing import probes_of
from mlflow_onnx_flavor.targets.report import Speed

TASKS, RUNNER = "mlflow_onnx_flavor.targets.tasks", "mlflow_onnx_flavor.targets.runner"
TIMEOUT_S = 600.0
SPEED_BUDGET_S = 0.3
# Single rows reveal a dependence on the batch size; not every row is needed for that.
MAX_SINGLE_ROWS = 64
MAX_ROWS = 20_000

Arrays = Mapping[str, np.ndarray]


@dataclass(frozen=True)
class Rows:
    """The graph's inputs for rows of one origin."""

    origin: str
    feeds: Arrays

    @property
    def count(self) -> int:
        """Return the number of rows."""
        return len(next(iter(self.feeds.values())))

    def first(self, count: int) -> Arrays:
        """Return the inputs of the first ``count`` rows."""
        return {name: array[:count] for name, array in self.feeds.items()}


class Reference:
    """A context manager for the ONNX model on ONNX Runtime's CPU provider, in a child process."""

    def __init__(self, model: Path):
        self.model = model
        self.arithmetic = arithmetic_of(graph_file(model))
        self._worker = Worker(name="the ONNX Runtime process", preload=PRELOADED)
        self._answers: dict[tuple[str, int], Arrays] = {}

    def open(self) -> None:
        """Open the ONNX model in the child process."""
        self._call("open_reference", {"model": self.model})

    def rows(self, data: Sequence[Inputs], probe_seed: int | None) -> list[Rows]:
        """Return the rows of ``data``, and probes made from the first if there is a seed."""
        kinds = [each.take(slice(0, MAX_ROWS)) for each in data]
        if probe_seed is not None and kinds:
            probed = probes_of(kinds[0], self.model, self._ask, probe_seed)
            kinds += [each.inputs for each in probed]
        return [Rows(each.origin, self._feeds(each)) for each in kinds]

    def answers(self, rows: Rows, batch_size: int) -> Arrays:
        """Return the outputs for the rows that are compared at ``batch_size``; they are kept."""
        key = (rows.origin, batch_size)
        if key not in self._answers:
            arguments = {"inputs": compared(rows, batch_size), "batch_size": batch_size}
            self._answers[key] = self._call("answers", arguments)["outputs"]
        return self._answers[key]

    def seconds(self, rows: Rows, batch_size: int) -> float:
        """Return the median seconds of one call of ``batch_size`` rows."""
        return self._call("seconds", _timing(rows, batch_size))

    def _ask(self, inputs: Inputs) -> Arrays:
        feeds = self._feeds(inputs)
        return self._call("answers", {"inputs": feeds, "batch_size": inputs.rows})["outputs"]

    def _feeds(self, inputs: Inputs) -> Arrays:
        with tempfile.TemporaryDirectory(prefix="mlflow-onnx-rows-") as folder:
            return self._call("feeds", {"inputs_path": inputs.hand_over(Path(folder))})

    def _call(self, task: str, arguments: Mapping[str, Any]) -> Any:
        module = RUNNER if task in ("answers", "seconds") else TASKS
        return self._worker.call(f"{module}:{task}", arguments, timeout_s=TIMEOUT_S)

    def __enter__(self) -> Reference:
        try:
            self.open()
        except BaseException:
            self._worker.close()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._worker.close()


def compared(rows: Rows, batch_size: int) -> Arrays:
    """Return the feeds that are compared at ``batch_size``."""
    return rows.feeds if batch_size > 1 else rows.first(MAX_SINGLE_ROWS)


def compare(
    worker: Worker,
    target: str,
    reference: Reference,
    rows: Sequence[Rows],
    batch_sizes: Sequence[int],
    labels: Mapping[str, Sequence[str]],
) -> tuple[ParityRow, ...]:
    """Return a row for each kind of inputs and batch size.

    ``worker``: a process that has the exported model open.
    """
    return tuple(
        _compared(worker, target, reference, each, size, labels)
        for each in rows
        for size in batch_sizes
    )


def _compared(
    worker: Worker,
    target: str,
    reference: Reference,
    rows: Rows,
    batch_size: int,
    labels: Mapping[str, Sequence[str]],
) -> ParityRow:
    known = {
        "candidate": target,
        "execution_provider": ExecutionProvider(name=target),
        "inputs": rows.origin,
        "batch_size": batch_size,
    }
    expected = reference.answers(rows, batch_size)
    feeds = compared(rows, batch_size)
    try:
        if not worker.alive:
            raise WorkerError(f"the {target} process ended on other inputs")
        found = worker.call(
            f"{RUNNER}:answers", {"inputs": feeds, "batch_size": batch_size}, timeout_s=TIMEOUT_S
        )["outputs"]
    except OnnxFlavorError as error:
        return ParityRow(**known, rows=0, status="failed", cause=one_line(error))
    found = dict(_with_texts(found, labels))
    tied = tied_rows(expected, found, reference.arithmetic)
    outputs = compare_all(expected, found, reference.arithmetic, tied=tied)
    return ParityRow(
        **known, rows=len(next(iter(feeds.values()))), status="measured", outputs=outputs
    )


def _with_texts(
    outputs: Arrays, labels: Mapping[str, Sequence[str]]
) -> Iterator[tuple[str, np.ndarray]]:
    """Yield outputs, with positions of labels replaced by the texts that they stand for."""
    for name, array in outputs.items():
        yield name, np.array(labels[name], object)[array] if name in labels else array


def judge(target: str, rows: Sequence[ParityRow], gate: ParityGate) -> tuple[Finding, ...]:
    """Return the findings of the parity gate, the same gate that judges a release."""
    return tuple(findings_on_parity(target, ExecutionProvider(name=target), list(rows), gate))


def measure_speed(
    worker: Worker, reference: Reference, rows: Rows, batch_sizes: Sequence[int]
) -> tuple[Speed, ...]:
    """Return how long a call takes, measured in one process after the other."""
    return tuple(
        Speed(
            batch_size=size,
            target_seconds=worker.call(
                f"{RUNNER}:seconds", _timing(rows, size), timeout_s=TIMEOUT_S
            ),
            onnxruntime_seconds=reference.seconds(rows, size),
        )
        for size in batch_sizes
    )


def _timing(rows: Rows, batch_size: int) -> dict[str, Any]:
    feeds = rows.first(min(batch_size, rows.count))
    return {"inputs": feeds, "batch_size": batch_size, "budget_s": SPEED_BUDGET_S}
