"""Measure parity of every candidate on every provider, each provider in a process of its own."""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
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
)
from mlflow_onnx_flavor.inputs import Inputs
from mlflow_onnx_flavor.inputs.probes.generate import AT_A_SPLIT, BESIDE_A_JUMP
from mlflow_onnx_flavor.inputs.readers.streams import RowStream
from mlflow_onnx_flavor.machine.hardware import environment
from mlflow_onnx_flavor.parity.candidate_process import (
    CPU,
    CandidateProcess,
    Expected,
    RowKey,
    one_line,
    rows_compared,
)
from mlflow_onnx_flavor.parity.known_causes import share_of
from mlflow_onnx_flavor.parity.locating import reference_for, worth_locating
from mlflow_onnx_flavor.parity.search import search
from mlflow_onnx_flavor.parity.stopwatch import Stopwatch
from mlflow_onnx_flavor.parity.streaming import compare_rest, is_carried
from mlflow_onnx_flavor.processes.pool import SpareWorkers
from mlflow_onnx_flavor.schemas.evidence import (
    ExecutionProvider,
    ModelIdentity,
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
from mlflow_onnx_flavor.source.process import SourceModelWorker, roundings_by

log = logging.getLogger(__name__)

_OF_ONE_SIZE = frozenset({EVALUATION_DATA, INPUT_EXAMPLE, PROBES, EXTREME_PROBES})


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
    source_worker: SourceModelWorker | None = None,
    spares: SpareWorkers | None = None,
    timeout_s: float = 600.0,
    probe_seed: int | None = None,
    worst_inputs: Path | None = None,
    more: RowStream | None = None,
    resume: Path | None = None,
    on_progress: Callable[[str], None] | None = None,
) -> ParityReport:
    """Compare every candidate with the source, on the evaluation data and the example.

    Each output is compared at each of ``batch_sizes``; at the largest, so is what a consumer of
    the pyfunc sees, on the same rows.  ``source_worker``: the source, where it is loaded already;
    it stays open.  ``spares``: processes that are ready already.  ``timeout_s`` is the limit for
    one candidate's answer to one kind of inputs.  ``probe_seed``: of probes to compare on as well;
    none where None.  ``worst_inputs``: a folder to write the rows to that disagree most, as a file
    that can be given as evaluation data; nothing is written where all agree.  ``more``: large data
    whose first batch ``evaluation`` is; the others are compared after it, at the largest batch
    size.  ``resume``: a file that keeps how far that came, for the next call.
    Raises InvalidDataError where there is no row to compare, and whatever stops the source.
    """
    begun_ns = time.perf_counter_ns()
    note = on_progress or (lambda _text: None)
    given = [rows for rows in (evaluation, example) if rows is not None]
    _check(given)
    stopwatch, spares = Stopwatch(), spares or SpareWorkers()
    differ_on_cpu: dict[RowKey, float] = {}
    own = nullcontext(source_worker) if source_worker else SourceModelWorker(source_path, framework)
    order = _cpu_first(execution_providers)
    with own as source, ExitStack() as stack:
        processes = {
            position: stack.enter_context(
                CandidateProcess(
                    execution_providers[position], timeout_s, stopwatch, differ_on_cpu, spares
                )
            )
            for position in order
        }
        processes[order[0]].start()
        probed, record = _probes(source, given[0], candidates[0], probe_seed)
        given += [rows for rows, _ in probed]
        kinds = [()] * (len(given) - len(probed)) + [tuple(each) for _, each in probed]
        loaded_before = source.load_seconds
        with stopwatch.running():
            smooth = [_off_thresholds(*each) for each in zip(given, kinds, strict=True)]
            known = roundings_by(source, [rows for rows in smooth if rows.rows])
            roundings = roundings_of(known)
            expected = [
                replace(_ask(source, rows, batch_sizes, roundings), kinds=of_rows)
                for rows, of_rows in zip(given, kinds, strict=True)
            ]
        stopwatch.seconds -= source.load_seconds - loaded_before
        rows_on: dict[int, list[ParityRow]] = {}
        agreeing: CandidateFolder | None = None
        searched: dict[str, list[Expected]] = {}  # by candidate: each has its own
        for position, following in zip_longest(order, order[1:]):
            provider = execution_providers[position]
            rows_on[position] = []
            if following is not None:
                processes[following].start()
            for candidate in candidates:
                note(f"comparing {candidate.identity.name} on {provider}")
                name, process = candidate.identity.name, processes[position]
                found = process.compare(candidate, expected, batch_sizes)
                judged = [row for row in found if row.inputs != EXTREME_PROBES]
                agrees = all(share_of(row) == 0 for row in judged)
                if agreeing is None and agrees:
                    agreeing = candidate
                look = _Looking(candidate, agreeing, expected, source, differ_on_cpu)
                if probe_seed is not None and name not in searched and agrees:
                    searched[name] = look.searched(process, probe_seed, max(batch_sizes))
                    given += [each.inputs for each in searched[name]]
                if own := searched.get(name):
                    found += process.compare(candidate, own, [max(batch_sizes)])
                    look = replace(look, expected=[*expected, *own])
                rows_on[position] += look.located(process, found)
            if more is None or not any(is_carried(r, max(batch_sizes)) for r in rows_on[position]):
                processes.pop(position).close()
            if provider.name == CPU:
                differ_on_cpu |= _differing(rows_on[position])
        rows = tuple(row for position in sorted(rows_on) for row in rows_on[position])
        if more is not None:

            def process_for(row: ParityRow) -> CandidateProcess:
                """What measured it goes on; each further candidate needs one of its own."""
                position = execution_providers.index(row.execution_provider)
                return processes.pop(position, None) or CandidateProcess(
                    row.execution_provider, timeout_s, stopwatch, differ_on_cpu, spares
                )

            with stopwatch.running():
                rows = tuple(
                    compare_rest(
                        rows,
                        more,
                        source,
                        candidates,
                        roundings,
                        process_for,
                        resume=resume,
                        on_progress=note,
                    )
                )
        if worst_inputs is not None:
            _save_worst(rows, given, worst_inputs)
        return ParityReport(
            source=source_identity,
            candidates=tuple(each.identity for each in candidates),
            inputs_digest=given[0].digest(),
            rows=rows,
            probes=record,
            seconds=(time.perf_counter_ns() - begun_ns) / 1e9,
            measuring_seconds=max(stopwatch.seconds, 0.0),
            environment=environment(tuple(source.versions)),
        )


@dataclass(frozen=True)
class _Looking:
    """Looks for inputs on which a candidate differs, and for the node where it begins to.

    ``agreeing``: a candidate that does not, where there is one.
    """

    candidate: CandidateFolder
    agreeing: CandidateFolder | None
    expected: Sequence[Expected]
    source: SourceModelWorker
    differ_on_cpu: Mapping[RowKey, float]

    def searched(self, process: CandidateProcess, seed: int, batch_size: int) -> list[Expected]:
        """The inputs that were found, with what the source says of them; none where it cannot be
        asked.
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
        """``rows``, one of them with its divergence where the candidate differs."""
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
    """Probes with the kind of each row, and the record of them."""
    if seed is None:
        return [], None
    try:
        probed = source.probes(rows, candidate.folder, seed)
    except OnnxFlavorError as error:
        return [], ProbeRecord(seed=seed, cause=one_line(error))
    counts = Counter(kind for _, kinds in probed for kind in kinds)
    return probed, ProbeRecord(seed=seed, rows=dict(counts))


def _off_thresholds(inputs: Inputs, kinds: Sequence[str]) -> Inputs:
    """Without the probes that stand on or beside a threshold: there an answer jumps, whatever
    rounds.
    """
    kept = [at for at, kind in enumerate(kinds) if kind not in (AT_A_SPLIT, BESIDE_A_JUMP)]
    return inputs.take(kept) if len(kept) < len(kinds) else inputs


def _save_worst(rows: Sequence[ParityRow], given: Sequence[Inputs], folder: Path) -> None:
    """The rows that disagree most, each once, as one file of inputs; those of another size are in
    folders of their own.
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
        reason = one_line(error)
        cause = f"the source's pyfunc does not answer, so forms are not compared: {reason}"
        return replace(expected, no_answer=cause)


def _answers(
    source: SourceModelWorker, inputs: Inputs, batch_sizes: Sequence[int]
) -> dict[int, dict[str, np.ndarray]]:
    """The source's outputs by batch size.

    A probe that the source refuses at one of them, such as a row of padding that it takes within a
    batch alone, is not compared there.
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
    """Positions of ``providers``, the CPU's first: it tells whether others are the cause."""
    return sorted(range(len(providers)), key=lambda position: providers[position].name != CPU)


def _differing(rows: Sequence[ParityRow]) -> dict[RowKey, float]:
    """The share of rows that differ, of what was measured."""
    return {
        (row.candidate, row.inputs, row.batch_size): share_of(row)
        for row in rows
        if row.status == "measured"
    }
