"""Parity of every candidate on every provider, each provider in a process of its own."""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, nullcontext
from dataclasses import dataclass, replace
from itertools import zip_longest
from pathlib import Path

import numpy as np

from mlflow_onnx_flavor.artifact.saved_model import CandidateFolder
from mlflow_onnx_flavor.comparison.rounding import merged
from mlflow_onnx_flavor.comparison.tolerance import Roundings, roundings_of
from mlflow_onnx_flavor.errors import (
    InvalidDataError,
    OnnxFlavorError,
    WorkerError,
    WorkerTaskError,
    first_and_last_line,
)
from mlflow_onnx_flavor.inputs import Inputs
from mlflow_onnx_flavor.inputs.probes.generate import AT_A_SPLIT, BESIDE_A_JUMP
from mlflow_onnx_flavor.inputs.readers.streams import RowStream
from mlflow_onnx_flavor.machine.hardware import environment
from mlflow_onnx_flavor.parity.candidate_process import (
    CandidateProcess,
    Expected,
    RowKey,
    rows_compared,
)
from mlflow_onnx_flavor.parity.known_causes import share_of
from mlflow_onnx_flavor.parity.locating import reference_for, worth_locating
from mlflow_onnx_flavor.parity.plan import Plan
from mlflow_onnx_flavor.parity.search import search
from mlflow_onnx_flavor.parity.stopwatch import Stopwatch
from mlflow_onnx_flavor.parity.streaming import compare_rest, is_carried
from mlflow_onnx_flavor.processes.pool import SpareWorkers
from mlflow_onnx_flavor.schemas.evidence import (
    ExecutionProvider,
    ParityReport,
    ParityRow,
    ProbeRecord,
)
from mlflow_onnx_flavor.schemas.origins import (
    EVALUATION_DATA,
    EXTREME_PROBES,
    INPUT_EXAMPLE,
    PROBES,
    SEARCHED_PROBES,
    is_probe,
)
from mlflow_onnx_flavor.scoring.runtimes import CPU
from mlflow_onnx_flavor.source.process import SourceModelWorker, roundings_by

log = logging.getLogger(__name__)

_OF_ONE_SIZE = frozenset({EVALUATION_DATA, INPUT_EXAMPLE, PROBES, EXTREME_PROBES})


def measure(plan: Plan) -> ParityReport:
    """Compare every candidate with the source, on the evaluation data and the example.

    Each output is compared at each batch size; at the largest, the pyfunc's answer is compared as a
    consumer sees it, on the same rows.
    Raises InvalidDataError if there is no row to compare, and whatever the source raises.
    """
    _check(plan.inputs)
    own = plan.source_worker
    source = nullcontext(own) if own else SourceModelWorker(plan.source_path, plan.framework)
    with source as opened, ExitStack() as stack:
        return _Measurement(plan, opened, stack).report()


class _Measurement:
    """A measurement in progress: the source, a process for each provider, and their answers.

    ``stack``: closes the processes.
    """

    def __init__(self, plan: Plan, source: SourceModelWorker, stack: ExitStack):
        self._plan, self._source = plan, source
        self._begun_ns = time.perf_counter_ns()
        self._note = plan.on_progress or (lambda _text: None)
        self._spares = plan.spares or SpareWorkers()
        self._stopwatch = Stopwatch()
        self._inputs = list(plan.inputs)
        self._expected: list[Expected] = []
        self._roundings: Roundings = {}
        self._differ_on_cpu: dict[RowKey, float] = {}
        self._agreeing: CandidateFolder | None = None
        self._searched: dict[str, list[Expected]] = {}  # by candidate: each has its own
        self._order = _cpu_first(plan.execution_providers)
        self._processes = {
            position: stack.enter_context(self._process(plan.execution_providers[position]))
            for position in self._order
        }

    def report(self) -> ParityReport:
        """Compare on one provider after the other, while the next process starts."""
        plan = self._plan
        self._processes[self._order[0]].start()
        probes = self._ask_source()
        rows_on: dict[int, list[ParityRow]] = {}
        for position, following in zip_longest(self._order, self._order[1:]):
            if following is not None:
                self._processes[following].start()
            rows_on[position] = self._rows_on(position)
        rows = tuple(row for position in sorted(rows_on) for row in rows_on[position])
        if plan.more is not None:
            rows = self._with_the_rest(rows, plan.more)
        if plan.worst_inputs is not None:
            _save_worst(rows, self._inputs, plan.worst_inputs)
        return ParityReport(
            source=plan.source_identity,
            candidates=tuple(each.identity for each in plan.candidates),
            inputs_digest=self._inputs[0].digest(),
            rows=rows,
            probes=probes,
            seconds=(time.perf_counter_ns() - self._begun_ns) / 1e9,
            measuring_seconds=max(self._stopwatch.seconds, 0.0),
            environment=environment(tuple(self._source.versions)),
        )

    def _process(self, provider: ExecutionProvider) -> CandidateProcess:
        return CandidateProcess(
            provider, self._plan.timeout_s, self._stopwatch, self._differ_on_cpu, self._spares
        )

    def _ask_source(self) -> ProbeRecord | None:
        """Ask the source for its probes, its rounding error and its answers to all inputs."""
        plan, source = self._plan, self._source
        probed, record = _probes(source, self._inputs[0], plan.candidates[0], plan.probe_seed)
        kinds = [()] * len(self._inputs) + [tuple(each) for _, each in probed]
        self._inputs += [rows for rows, _ in probed]
        loaded_before = source.load_seconds
        with self._stopwatch.running():
            smooth = [_off_thresholds(*each) for each in zip(self._inputs, kinds, strict=True)]
            known = roundings_by(source, [rows for rows in smooth if rows.rows])
            self._roundings = roundings_of(known)
            self._expected = [
                replace(_ask(source, rows, plan.batch_sizes, self._roundings), kinds=of_rows)
                for rows, of_rows in zip(self._inputs, kinds, strict=True)
            ]
        self._stopwatch.seconds -= source.load_seconds - loaded_before
        return record

    def _rows_on(self, position: int) -> list[ParityRow]:
        """Return the rows of every candidate on the provider at ``position``."""
        plan, largest = self._plan, max(self._plan.batch_sizes)
        provider = plan.execution_providers[position]
        rows = []
        for candidate in plan.candidates:
            self._note(f"comparing {candidate.identity.name} on {provider}")
            rows += self._compared(candidate, self._processes[position])
        if plan.more is None or not any(is_carried(row, largest) for row in rows):
            self._processes.pop(position).close()
        if provider.name == CPU:
            self._differ_on_cpu |= _differing(rows)
        return rows

    def _compared(self, candidate: CandidateFolder, process: CandidateProcess) -> list[ParityRow]:
        """Return the rows of one candidate.

        If it agrees with the source, a search looks for inputs on which it does not.
        """
        plan, name = self._plan, candidate.identity.name
        rows = process.compare(candidate, self._expected, plan.batch_sizes)
        judged = [row for row in rows if row.inputs != EXTREME_PROBES]
        agrees = all(share_of(row) == 0 for row in judged)
        if self._agreeing is None and agrees:
            self._agreeing = candidate
        look = _Looking(
            candidate, self._agreeing, self._expected, self._source, self._differ_on_cpu
        )
        largest = max(plan.batch_sizes)
        if plan.probe_seed is not None and name not in self._searched and agrees:
            self._searched[name] = look.searched(process, plan.probe_seed, largest)
            self._inputs += [each.inputs for each in self._searched[name]]
        if own := self._searched.get(name):
            rows += process.compare(candidate, own, [largest])
            look = replace(look, expected=[*self._expected, *own])
        return look.located(process, rows)

    def _with_the_rest(self, rows: tuple[ParityRow, ...], more: RowStream) -> tuple[ParityRow, ...]:
        """Return the rows with the results of the other batches of large data added."""
        with self._stopwatch.running():
            carried = compare_rest(
                rows,
                more,
                self._source,
                self._plan.candidates,
                self._roundings,
                self._process_for,
                resume=self._plan.resume,
                on_progress=self._note,
            )
            return tuple(carried)

    def _process_for(self, row: ParityRow) -> CandidateProcess:
        """Return the process that measured the row; each further candidate needs its own."""
        position = self._plan.execution_providers.index(row.execution_provider)
        return self._processes.pop(position, None) or self._process(row.execution_provider)


@dataclass(frozen=True)
class _Looking:
    """A search for inputs on which a candidate differs, and for the node where it begins to.

    ``agreeing``: a candidate that agrees with the source, if there is one.
    """

    candidate: CandidateFolder
    agreeing: CandidateFolder | None
    expected: Sequence[Expected]
    source: SourceModelWorker
    differ_on_cpu: Mapping[RowKey, float]

    def searched(self, process: CandidateProcess, seed: int, batch_size: int) -> list[Expected]:
        """Return the inputs that were found, with the source's answers to them.

        The list is empty if nothing was found or the source cannot be called.
        """
        first, *others = self.expected
        begin_with = [first, *(each for each in others if each.inputs.origin == PROBES)]

        def ask_source(path: Path, rows: int) -> Mapping[str, np.ndarray]:
            return self.source.call("reference", inputs_path=path, batches=[[rows, rows]])[
                "outputs"
            ][0]

        def ask_candidate(path: Path, rows: int) -> Mapping[str, np.ndarray]:
            return process.answers(self.candidate, path, rows)

        found = search([each.inputs for each in begin_with], ask_source, ask_candidate, seed)
        if found is None:
            return []
        try:
            known = merged(
                [begin_with[0].roundings, roundings_of(roundings_by(self.source, [found]))]
            )
            expected = _ask(self.source, found, [batch_size], known)
        except WorkerError:
            return []
        name = f"{SEARCHED_PROBES} {self.candidate.identity.name}"
        return [replace(expected, inputs=Inputs(found.data, name))]

    def located(self, process: CandidateProcess, rows: list[ParityRow]) -> list[ParityRow]:
        """Return ``rows``, one of them with its divergence if the candidate differs."""
        row = worth_locating(rows)
        if row is None:
            return rows
        expected = next(each for each in self.expected if each.inputs.origin == row.inputs)
        on_cpu = self.differ_on_cpu.get((row.candidate, row.inputs, row.batch_size))

        def layers() -> Mapping[str, np.ndarray]:
            return self.source.layers(expected.inputs.take([each.row for each in row.worst]))

        reference = reference_for(row, self.candidate, self.agreeing, on_cpu == 0, layers)
        if reference is None:
            return rows
        located = process.locate(self.candidate, expected, row, reference)
        return [located if each is row else each for each in rows]


def _check(given: Sequence[Inputs]) -> None:
    if not given:
        raise InvalidDataError(
            "there is nothing to compare on; give evaluation data, or log the model with an input"
            " example"
        )
    for rows in given:
        if not rows.rows:
            raise InvalidDataError(f"the {rows.origin} has no rows; give at least one")


def _probes(
    source: SourceModelWorker, rows: Inputs, candidate: CandidateFolder, seed: int | None
) -> tuple[list[tuple[Inputs, list[str]]], ProbeRecord | None]:
    """Return probes with the kind of each row, and the record of them."""
    if seed is None:
        return [], None
    try:
        probed = source.probes(rows, candidate.folder, seed)
    except OnnxFlavorError as error:
        return [], ProbeRecord(seed=seed, cause=first_and_last_line(error))
    counts = Counter(kind for _, kinds in probed for kind in kinds)
    return probed, ProbeRecord(seed=seed, rows=dict(counts))


def _off_thresholds(inputs: Inputs, kinds: Sequence[str]) -> Inputs:
    """Return the inputs without the probes on or beside a threshold.

    There an answer jumps under any rounding error.
    """
    kept = [at for at, kind in enumerate(kinds) if kind not in (AT_A_SPLIT, BESIDE_A_JUMP)]
    return inputs.take(kept) if len(kept) < len(kinds) else inputs


def _save_worst(rows: Sequence[ParityRow], given: Sequence[Inputs], folder: Path) -> None:
    """Write the rows that disagree most, each once, as one file of inputs.

    Rows of another size go into folders of their own.
    """
    parts = []
    for inputs in given:
        found = {each.row for row in rows if row.inputs == inputs.origin for each in row.worst}
        if found and inputs.origin in _OF_ONE_SIZE:
            parts.append(inputs.take(sorted(found)))
        elif found:
            inputs.take(sorted(found)).save(folder / inputs.origin.replace(" ", "_"))
    if parts:
        Inputs.joined(parts, EVALUATION_DATA).save(folder)


def _ask(
    source: SourceModelWorker, inputs: Inputs, batch_sizes: Sequence[int], roundings: Roundings
) -> Expected:
    answered = _answers(source, inputs, batch_sizes)
    expected = Expected(inputs, source.path_of(inputs), answered, None, roundings=roundings)
    if not source.has_pyfunc or not answered:
        return expected
    try:
        rows = slice(0, rows_compared(inputs, max(batch_sizes)))
        return replace(expected, answer=source.answer(inputs.take(rows)))
    except WorkerTaskError as error:
        reason = first_and_last_line(error)
        cause = f"the source's pyfunc does not answer, so forms are not compared: {reason}"
        return replace(expected, no_answer=cause)


def _answers(
    source: SourceModelWorker, inputs: Inputs, batch_sizes: Sequence[int]
) -> dict[int, dict[str, np.ndarray]]:
    """Return the source's outputs by batch size.

    A probe that the source refuses at a batch size is not compared there, such as a row of padding
    that it accepts within a batch only.
    """
    batches = [(size, rows_compared(inputs, size)) for size in batch_sizes]
    try:
        return dict(zip(batch_sizes, source.reference(inputs, batches), strict=True))
    except WorkerTaskError:
        if not is_probe(inputs.origin):
            raise
    answered = {}
    for size, rows in batches:
        try:
            answered[size] = source.reference(inputs, [(size, rows)])[0]
        except WorkerTaskError:
            log.info("the source refuses %s, %d at a time", inputs.origin, size, exc_info=True)
    return answered


def _cpu_first(providers: Sequence[ExecutionProvider]) -> list[int]:
    """Return positions of ``providers``, the CPU first: it shows whether others are the cause."""
    return sorted(range(len(providers)), key=lambda position: providers[position].name != CPU)


def _differing(rows: Sequence[ParityRow]) -> dict[RowKey, float]:
    """Return the share of rows that differ, for the rows that were measured."""
    return {
        (row.candidate, row.inputs, row.batch_size): share_of(row)
        for row in rows
        if row.status == "measured"
    }
