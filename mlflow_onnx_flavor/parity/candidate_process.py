"""The candidates on one execution provider, in a process that is restarted after a crash.

A candidate that fails, crashes, hangs or falls back to the CPU gets a row of the report and never
ends the measurement.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from mlflow_onnx_flavor.artifact.saved_model import CandidateFolder
from mlflow_onnx_flavor.comparison.label_ties import SCORES, tied_rows
from mlflow_onnx_flavor.comparison.matching import (
    compare_all,
    compare_answers,
    missing_outputs,
    worst_rows,
)
from mlflow_onnx_flavor.comparison.pyfunc_output import Answer
from mlflow_onnx_flavor.comparison.tolerance import Roundings, widest
from mlflow_onnx_flavor.errors import (
    OnnxFlavorError,
    WorkerCrashedError,
    WorkerOutOfMemoryError,
    WorkerTaskError,
    WorkerTimeoutError,
    first_and_last_line,
)
from mlflow_onnx_flavor.inputs import Inputs
from mlflow_onnx_flavor.onnx_graph.precision import Arithmetic
from mlflow_onnx_flavor.parity.known_causes import cause_and_remedy, fell_back, remedy_for
from mlflow_onnx_flavor.parity.stopwatch import Stopwatch
from mlflow_onnx_flavor.processes.pool import SpareWorkers
from mlflow_onnx_flavor.processes.worker import Worker
from mlflow_onnx_flavor.schemas.evidence import Divergence, ExecutionProvider, ParityRow, Status
from mlflow_onnx_flavor.scoring.runtimes import CPU

log = logging.getLogger(__name__)

TASKS = "mlflow_onnx_flavor.parity.tasks"

# Single rows reveal a dependence on the batch size; not every row is needed for that.
MAX_SINGLE_ROWS = 256

# The tolerance on inner values when only labels differ, which have no tolerance of their own.
_TOLERANCE_OF_LABELS = 1e-5

# Candidate, kind of inputs and batch size: the key that rows on different providers share.
RowKey = tuple[str, str, int]


@dataclass(frozen=True)
class Expected:
    """The source's answers to one kind of inputs.

    ``outputs``: by batch size, on as many rows as `rows_compared` returns; a batch size that the
    source refuses is left out.
    """

    inputs: Inputs
    path: Path
    outputs: Mapping[int, Mapping[str, np.ndarray]]
    answer: Answer | None  # None if the source has no pyfunc, or it fails
    no_answer: str = ""  # the reason for None
    roundings: Roundings = field(default_factory=dict)  # its own rounding error, by output
    kinds: tuple[str, ...] = ()  # the kind of each row, for probes


@dataclass(frozen=True)
class _Opened:
    placement: dict[str, int]
    arithmetic: Arithmetic


def rows_compared(inputs: Inputs, batch_size: int) -> int:
    """Return how many rows of ``inputs`` are compared at ``batch_size``."""
    return inputs.rows if batch_size > 1 else min(inputs.rows, MAX_SINGLE_ROWS)


class CandidateProcess:
    """A context manager that compares candidates with their source on ``provider``.

    ``timeout_s``: the limit of one task.  ``differ_on_cpu``: the share of rows that differ on the
    CPU provider, for rows measured there; a larger share elsewhere is due to the provider.
    ``spares``: the pool that its processes come from.
    """

    def __init__(
        self,
        provider: ExecutionProvider,
        timeout_s: float,
        stopwatch: Stopwatch,
        differ_on_cpu: Mapping[RowKey, float],
        spares: SpareWorkers,
    ):
        self._provider, self._timeout_s, self._stopwatch = provider, timeout_s, stopwatch
        self._differ_on_cpu, self._spares = differ_on_cpu, spares
        self._worker: Worker | None = None
        self._opened: tuple[CandidateFolder, _Opened] | None = None

    def start(self) -> None:
        """Start the process, which imports its modules while the caller does something else."""
        if not self._alive():
            self.close()
            self._worker = self._spares.take(f"the {self._provider} process")

    def compare(
        self, candidate: CandidateFolder, expected: Sequence[Expected], batch_sizes: Sequence[int]
    ) -> list[ParityRow]:
        """Return a row for each kind of inputs and batch size."""
        try:
            opened = self._open(candidate)
        except OnnxFlavorError as error:
            return [
                self._unmeasured(candidate, each, size, error)
                for each in expected
                for size in batch_sizes
                if size in each.outputs
            ]
        return [
            self._compare(candidate, each, size, opened, with_form=size == max(batch_sizes))
            for each in expected
            for size in batch_sizes
            if size in each.outputs
        ]

    def answers(
        self, candidate: CandidateFolder, inputs_path: Path, rows: int
    ) -> dict[str, np.ndarray]:
        """Return every output of ``candidate`` on ``rows`` rows in one batch."""
        self.arithmetic(candidate)
        arguments = {"inputs_path": inputs_path, "batch_size": rows, "rows": rows}
        return self._call("run", arguments)["outputs"]

    def arithmetic(self, candidate: CandidateFolder) -> Arithmetic:
        """Return the arithmetic of ``candidate``; open it if it is not open."""
        if self._opened is not None and self._alive() and self._opened[0] is candidate:
            return self._opened[1].arithmetic
        return self._open(candidate).arithmetic

    def locate(
        self,
        candidate: CandidateFolder,
        expected: Expected,
        row: ParityRow,
        reference: Mapping[str, Any],
    ) -> ParityRow:
        """Return ``row`` with the node where its worst rows leave ``reference``, if one is found.

        The row is unchanged if the search fails.  ``reference``: in the form that `tasks.locate`
        takes.
        """
        output = next(each for each in row.outputs if each.name == row.worst[0].output)
        arguments = {
            "inputs_path": expected.path,
            "rows": [each.row for each in row.worst],
            "tolerance": output.auto_tolerance or _TOLERANCE_OF_LABELS,
            "reference": dict(reference),
        }
        try:
            self._open(candidate)
            found = self._call("locate", arguments)
        except OnnxFlavorError:
            log.info("the node where answers diverge is not found", exc_info=True)
            return row
        if found is None:
            return row
        divergence = Divergence.model_validate(found)
        cause = "; ".join(filter(None, [row.cause, str(divergence)]))
        return row.model_copy(update={"divergence": divergence, "cause": cause})

    def _compare(
        self,
        candidate: CandidateFolder,
        expected: Expected,
        batch_size: int,
        opened: _Opened,
        with_form: bool,
    ) -> ParityRow:
        rows = rows_compared(expected.inputs, batch_size)
        asked = expected.outputs[batch_size]
        seen: dict[str, Any] = {"placement": opened.placement}
        try:
            if not self._alive():
                self._open(candidate)  # a crash on other inputs may have closed it
            outputs = self._run(expected, batch_size, rows)
            arithmetic, roundings = opened.arithmetic, expected.roundings
            tied = tied_rows(asked, outputs, arithmetic, roundings.get(SCORES))
            parities = compare_all(asked, outputs, arithmetic, roundings, tied=tied)
            worst = worst_rows(asked, outputs, parities, tied, expected.kinds)
            seen |= {"rows": rows, "outputs": parities, "worst": worst}
            causes = [missing_outputs(asked, outputs)]
            if with_form and candidate.folder.is_dir():
                causes.append(expected.no_answer)
                if expected.answer is not None:
                    differences, of_answers = compare_answers(
                        expected.answer,
                        self._answer(expected, rows),
                        arithmetic,
                        widest(roundings),
                        tied,
                    )
                    seen |= {"form_differences": differences, "outputs": parities + of_answers}
        except OnnxFlavorError as error:
            return self._unmeasured(candidate, expected, batch_size, error, **seen)
        status, cause, remedy = self._explained(candidate, expected, batch_size, seen)
        return self._row(
            candidate,
            expected,
            batch_size,
            status=status,
            cause="; ".join(filter(None, [*causes, cause])),
            remedy=remedy,
            **seen,
        )

    def _explained(
        self,
        candidate: CandidateFolder,
        expected: Expected,
        batch_size: int,
        seen: Mapping[str, Any],
    ) -> tuple[Status, str, str]:
        if self._provider.name != CPU and not seen["placement"].get(self._provider.name):
            return ("fell back", *fell_back(self._provider))
        key = (candidate.identity.name, expected.inputs.origin, batch_size)
        on_cpu = self._differ_on_cpu.get(key)
        return ("measured", *cause_and_remedy(self._provider, seen["outputs"], on_cpu))

    def _alive(self) -> bool:
        return self._worker is not None and self._worker.alive

    def _open(self, candidate: CandidateFolder) -> _Opened:
        self.start()
        arguments = {"path": candidate.folder, "provider": self._provider.model_dump()}
        answer = self._call("open_candidate", arguments)
        opened = _Opened(answer["placement"], Arithmetic(**answer["arithmetic"]))
        self._opened = candidate, opened
        return opened

    def _run(self, expected: Expected, batch_size: int, rows: int) -> dict[str, np.ndarray]:
        arguments = {"inputs_path": expected.path, "batch_size": batch_size, "rows": rows}
        with self._stopwatch.running():
            return self._call("run", arguments)["outputs"]

    def _answer(self, expected: Expected, rows: int) -> Answer:
        try:
            return self._call("answer", {"inputs_path": expected.path, "rows": rows})
        except WorkerTaskError as error:
            reason = first_and_last_line(error)
            raise WorkerTaskError(
                f"the candidate's pyfunc does not answer: {reason}", error.log
            ) from error

    def _call(self, task: str, arguments: dict[str, Any]) -> Any:
        return self._worker.call(f"{TASKS}:{task}", arguments, timeout_s=self._timeout_s)

    def _unmeasured(
        self,
        candidate: CandidateFolder,
        expected: Expected,
        batch_size: int,
        error: OnnxFlavorError,
        **seen: Any,
    ) -> ParityRow:
        """Return a row for a comparison that ended early, with what was ``seen`` until then."""
        status = _status(error)
        return self._row(
            candidate,
            expected,
            batch_size,
            status=status,
            cause=first_and_last_line(error),
            remedy=remedy_for(self._provider, status),
            **seen,
        )

    def _row(
        self, candidate: CandidateFolder, expected: Expected, batch_size: int, **fields: Any
    ) -> ParityRow:
        return ParityRow(
            candidate=candidate.identity.name,
            execution_provider=self._provider,
            inputs=expected.inputs.origin,
            batch_size=batch_size,
            **({"rows": 0} | fields),
        )

    def close(self) -> None:
        """End the process.

        It is safe to call this twice.
        """
        if self._worker is not None:
            self._worker.close()

    def __enter__(self) -> CandidateProcess:
        return self

    def __exit__(self, *_exc) -> None:
        self.close()


def _status(error: OnnxFlavorError) -> Status:
    if isinstance(error, WorkerTimeoutError):
        return "timed out"
    if isinstance(error, WorkerCrashedError | WorkerOutOfMemoryError):
        return "crashed"
    return "failed"
