"""Measure parity of every candidate on every provider, each provider in a process of its own.

What fails, crashes, hangs or falls back to the CPU is a row of the report, never the end.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mlflow_onnx_flavor.answers import Answer, compare_forms
from mlflow_onnx_flavor.candidates.folder import CandidateFolder
from mlflow_onnx_flavor.environment import environment
from mlflow_onnx_flavor.errors import (
    OnnxFlavorError,
    WorkerCrashedError,
    WorkerOutOfMemoryError,
    WorkerTimeoutError,
)
from mlflow_onnx_flavor.evidence import (
    ExecutionProvider,
    FormDifference,
    ModelIdentity,
    OutputParity,
    ParityReport,
    ParityRow,
    Status,
)
from mlflow_onnx_flavor.inputs import Inputs
from mlflow_onnx_flavor.parity.compare import compare_outputs
from mlflow_onnx_flavor.parity.known_causes import cause_and_remedy
from mlflow_onnx_flavor.source_process import SourceModelWorker
from mlflow_onnx_flavor.worker import Worker

TASKS = "mlflow_onnx_flavor.parity.tasks"
CPU = "CPUExecutionProvider"

# One row at a time is for what depends on the batch size; it need not see every row.
MAX_SINGLE_ROWS = 256
# A consumer's form does not depend on how many rows there are.
MAX_FORM_ROWS = 256


@dataclass(frozen=True)
class _Expected:
    """What the source says about one kind of inputs."""

    inputs: Inputs
    path: Path
    outputs: dict[str, np.ndarray]
    answer: Answer | None  # None for a source without a pyfunc, a bare file


def measure(
    source_path: Path,
    framework: str,
    candidates: Sequence[CandidateFolder],
    evaluation: Inputs | None,
    example: Inputs | None,
    execution_providers: Sequence[ExecutionProvider],
    *,
    batch_sizes: Sequence[int] = (1, 32),
    source_identity: ModelIdentity,
    timeout_s: float = 600.0,
    on_progress: Callable[[str], None] | None = None,
) -> ParityReport:
    """Compare every candidate with the source, on the evaluation data and the example.

    Each output is compared at each of ``batch_sizes``, and so is what a consumer of the pyfunc
    sees.  ``timeout_s`` is the limit for one candidate's answer to one kind of inputs.
    """
    begun_ns = time.perf_counter_ns()
    note = on_progress or (lambda _text: None)
    with SourceModelWorker(source_path, framework) as source:
        asked_ns = time.perf_counter_ns()
        expected = [_ask(source, rows) for rows in (evaluation, example) if rows is not None]
        stopwatch = _Stopwatch((time.perf_counter_ns() - asked_ns) / 1e9 - source.load_seconds)
        rows: list[ParityRow] = []
        for provider in execution_providers:
            note(f"comparing on {provider}")
            with _Candidates(provider, timeout_s, stopwatch) as running:
                for candidate in candidates:
                    rows += running.compare(candidate, expected, batch_sizes)
        return ParityReport(
            source=source_identity,
            candidates=tuple(each.identity for each in candidates),
            inputs_digest=expected[0].inputs.digest(),
            rows=tuple(rows),
            seconds=(time.perf_counter_ns() - begun_ns) / 1e9,
            measuring_seconds=max(stopwatch.seconds, 0.0),
            environment=environment(tuple(source.versions)),
        )


def _ask(source: SourceModelWorker, inputs: Inputs) -> _Expected:
    answer = None
    if source.has_pyfunc:
        answer = source.answer(inputs.take(slice(0, MAX_FORM_ROWS)))
    return _Expected(inputs, source.path_of(inputs), source.reference(inputs), answer)


class _Stopwatch:
    """Seconds that the models themselves took."""

    def __init__(self, seconds: float):
        self.seconds = seconds

    def timed(self, work: Callable[[], Any]) -> Any:
        begun_ns = time.perf_counter_ns()
        try:
            return work()
        finally:
            self.seconds += (time.perf_counter_ns() - begun_ns) / 1e9


class _Candidates:
    """The candidates on one provider: a worker that is started again after a crash."""

    def __init__(self, provider: ExecutionProvider, timeout_s: float, stopwatch: _Stopwatch):
        self._provider, self._timeout_s, self._stopwatch = provider, timeout_s, stopwatch
        self._worker: Worker | None = None

    def compare(
        self, candidate: CandidateFolder, expected: Sequence[_Expected], batch_sizes: Sequence[int]
    ) -> list[ParityRow]:
        """A row for each kind of inputs and batch size."""
        try:
            placement = self._open(candidate)
        except OnnxFlavorError as error:
            return [
                self._row(candidate, each, size, status=_status(error), cause=_one_line(error))
                for each in expected
                for size in batch_sizes
            ]
        return [
            self._compare(candidate, each, size, placement, with_form=size == max(batch_sizes))
            for each in expected
            for size in batch_sizes
        ]

    def _compare(
        self,
        candidate: CandidateFolder,
        expected: _Expected,
        batch_size: int,
        placement: dict[str, int],
        with_form: bool,
    ) -> ParityRow:
        rows = (
            expected.inputs.rows if batch_size > 1 else min(expected.inputs.rows, MAX_SINGLE_ROWS)
        )
        try:
            if self._worker is None or not self._worker.alive:
                self._open(candidate)  # the one before crashed on other inputs
            outputs = self._run(expected, batch_size, rows)
            parities = tuple(_compare_all(expected.outputs, outputs, rows))
            differences: tuple[FormDifference, ...] = ()
            if with_form and expected.answer is not None and candidate.folder.is_dir():
                differences, of_answers = self._compare_answers(expected)
                parities += of_answers
        except OnnxFlavorError as error:
            return self._row(
                candidate, expected, batch_size, status=_status(error), cause=_one_line(error)
            )
        cause, remedy = cause_and_remedy(self._provider, parities)
        status: Status = "measured"
        if self._provider.name != CPU and not placement.get(self._provider.name):
            status = "fell back"
            cause = f"{self._provider} took none of the model's nodes: the CPU ran them all"
            remedy = "leave this provider out, or use one that knows the model's operators"
        return self._row(
            candidate,
            expected,
            batch_size,
            status=status,
            rows=rows,
            cause=cause,
            remedy=remedy,
            outputs=parities,
            form_differences=differences,
            placement=placement,
        )

    def _open(self, candidate: CandidateFolder) -> dict[str, int]:
        if self._worker is None or not self._worker.alive:
            self.close()
            self._worker = Worker(name=f"{candidate.identity.name} on {self._provider}")
        arguments = {"path": candidate.folder, "provider": self._provider.model_dump()}
        return self._call("open_candidate", arguments)["placement"]

    def _run(self, expected: _Expected, batch_size: int, rows: int) -> dict[str, np.ndarray]:
        arguments = {"inputs_path": expected.path, "batch_size": batch_size, "rows": rows}
        return self._stopwatch.timed(lambda: self._call("run", arguments))["outputs"]

    def _compare_answers(
        self, expected: _Expected
    ) -> tuple[tuple[FormDifference, ...], tuple[OutputParity, ...]]:
        rows = min(expected.inputs.rows, MAX_FORM_ROWS)
        found = self._call("answer", {"inputs_path": expected.path, "rows": rows})
        differences = tuple(compare_forms(expected.answer, found))
        if [len(each["values"]) for each in expected.answer["parts"]] != [
            len(each["values"]) for each in found["parts"]
        ]:
            return differences, ()
        parities = [
            compare_outputs(
                f"pyfunc {key!r}" if key != "" else "pyfunc", left["values"], right["values"]
            )
            for key, left, right in zip(
                expected.answer["keys"], expected.answer["parts"], found["parts"], strict=True
            )
        ]
        return differences, tuple(parities)

    def _call(self, task: str, arguments: dict[str, Any]) -> Any:
        return self._worker.call(f"{TASKS}:{task}", arguments, timeout_s=self._timeout_s)

    def _row(
        self, candidate: CandidateFolder, expected: _Expected, batch_size: int, **fields: Any
    ) -> ParityRow:
        return ParityRow(
            candidate=candidate.identity.name,
            execution_provider=self._provider,
            inputs=expected.inputs.origin,
            batch_size=batch_size,
            **({"rows": 0} | fields),
        )

    def close(self) -> None:
        if self._worker is not None:
            self._worker.close()

    def __enter__(self) -> _Candidates:
        return self

    def __exit__(self, *_exc) -> None:
        self.close()


def _compare_all(
    expected: dict[str, np.ndarray], found: dict[str, np.ndarray], rows: int
) -> list[OutputParity]:
    """Outputs are matched by name; by position where no name is the same."""
    if not set(expected) & set(found):
        found = dict(zip(expected, found.values(), strict=False))
    missing = [name for name in expected if name not in found]
    compared = [
        compare_outputs(name, expected[name][:rows], found[name])
        for name in expected
        if name in found
    ]
    # A candidate that lacks an output agrees on no row of it.
    return compared + [
        compare_outputs(name, expected[name][:rows], np.empty((0,), np.float32)) for name in missing
    ]


def _status(error: OnnxFlavorError) -> Status:
    if isinstance(error, WorkerTimeoutError):
        return "timed out"
    if isinstance(error, WorkerCrashedError | WorkerOutOfMemoryError):
        return "crashed"
    return "failed"


def _one_line(error: OnnxFlavorError) -> str:
    return str(error).strip().splitlines()[0]
