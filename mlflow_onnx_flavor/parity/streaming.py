"""Streaming: compare the rest of large evaluation data batch by batch, in constant memory.

Source and candidates work on a batch at the same time, while the next one is read.  Results are
written to a file on the way, so that a comparison that was stopped resumes from there.
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from mlflow_onnx_flavor.artifact.saved_model import CandidateFolder
from mlflow_onnx_flavor.comparison.matching import compare_all
from mlflow_onnx_flavor.comparison.merge import merged
from mlflow_onnx_flavor.comparison.tolerance import Roundings
from mlflow_onnx_flavor.errors import OnnxFlavorError, first_and_last_line
from mlflow_onnx_flavor.inputs import Inputs
from mlflow_onnx_flavor.inputs.readers.streams import RowStream
from mlflow_onnx_flavor.machine.scratch import temporary_folder
from mlflow_onnx_flavor.onnx_graph.precision import Arithmetic
from mlflow_onnx_flavor.parity.candidate_process import CandidateProcess
from mlflow_onnx_flavor.parity.known_causes import share_of
from mlflow_onnx_flavor.schemas.evidence import OutputParity, ParityRow
from mlflow_onnx_flavor.schemas.origins import EVALUATION_DATA
from mlflow_onnx_flavor.source.process import SourceModelWorker

# A candidate that differs on more than this share of the first rows is not run on millions more.
_HOPELESS = 0.01
_SAY_EVERY_S = 5.0

MakeProcess = Callable[[ParityRow], CandidateProcess]


@dataclass
class _Compared:
    """The comparison of one candidate on one provider, in progress."""

    row: ParityRow
    candidate: CandidateFolder
    process: CandidateProcess
    outputs: tuple[OutputParity, ...]  # of the graph, so far
    rows: int
    arithmetic: Arithmetic | None = None  # known after the first answer
    cause: str = ""

    def key(self) -> str:
        provider = self.row.execution_provider
        return f"{self.candidate.identity.digest}|{provider.model_dump_json()}"


def compare_rest(
    rows: Sequence[ParityRow],
    stream: RowStream,
    source: SourceModelWorker,
    candidates: Sequence[CandidateFolder],
    roundings: Roundings,
    make_process: MakeProcess,
    *,
    resume: Path | None = None,
    on_progress: Callable[[str], None] = lambda _text: None,
) -> list[ParityRow]:
    """Extend the rows of evaluation data at the largest batch size to the end of ``stream``.

    Returns ``rows`` with the results; they were measured on the first batch of ``stream``.
    ``resume``: a file with the progress of a comparison of the same data and models.
    """
    largest = max((row.batch_size for row in rows), default=0)
    by_name = {each.identity.name: each for each in candidates}
    carried = [row for row in rows if is_carried(row, largest)]
    with ExitStack() as stack:
        compared = [
            _Compared(
                row,
                by_name[row.candidate],
                stack.enter_context(make_process(row)),
                tuple(each for each in row.outputs if not each.name.startswith("pyfunc")),
                row.rows,
            )
            for row in carried
        ]
        if compared:
            progress = _Progress(stream, compared, resume, on_progress)
            scratch = Path(stack.enter_context(temporary_folder("streaming")))
            _run(progress, stream, source, roundings, scratch)
    done = {id(each.row): _as_row(each) for each in compared}
    return [done.get(id(row), row) for row in rows]


def is_carried(row: ParityRow, largest: int) -> bool:
    """Return whether `compare_rest` extends ``row``; ``largest``: the largest batch size."""
    return (
        row.inputs == EVALUATION_DATA
        and row.batch_size == largest
        and row.status == "measured"
        and share_of(row) <= _HOPELESS
    )


def _run(
    progress: _Progress,
    stream: RowStream,
    source: SourceModelWorker,
    roundings: Roundings,
    scratch: Path,
) -> None:
    compared = progress.compared
    with ExitStack() as stack:
        # A process answers one question at a time, so each has a thread of its own.
        pools = [stack.enter_context(ThreadPoolExecutor(1)) for _ in range(len(compared) + 1)]
        waiting: _Asked | None = None
        for number, batch in enumerate(stream.batches(progress.batches_done)):
            asked = _ask(pools, batch, scratch / str(number), source, compared)
            if waiting is not None:
                _take(waiting, compared, roundings)
                progress.one_more()
            waiting = asked
        if waiting is not None:
            _take(waiting, compared, roundings)
            progress.one_more()
    progress.finished()


@dataclass(frozen=True)
class _Asked:
    """A batch whose answers are being computed."""

    path: Path
    rows: int
    expected: Future
    found: list[Future]


def _ask(
    pools: Sequence[ThreadPoolExecutor],
    batch: Inputs,
    folder: Path,
    source: SourceModelWorker,
    compared: Sequence[_Compared],
) -> _Asked:
    path, rows = batch.hand_over(folder), batch.rows
    of_source, *of_candidates = pools
    expected = of_source.submit(source.call, "reference", inputs_path=path, batches=[[rows, rows]])
    found = [
        pool.submit(_answer, each, path, rows)
        for pool, each in zip(of_candidates, compared, strict=True)
    ]
    return _Asked(path, rows, expected, found)


def _answer(each: _Compared, path: Path, rows: int) -> Mapping:
    """Return the candidate's outputs; an error ends the candidate's comparison for good."""
    if each.cause:
        return {}
    try:
        outputs = each.process.answers(each.candidate, path, rows)
        each.arithmetic = each.process.arithmetic(each.candidate)
        return outputs
    except OnnxFlavorError as error:
        each.cause = first_and_last_line(error)
        return {}


def _take(asked: _Asked, compared: Sequence[_Compared], roundings: Roundings) -> None:
    (outputs,) = asked.expected.result()["outputs"]
    for each, future in zip(compared, asked.found, strict=True):
        answered = future.result()
        if each.cause:
            continue
        scales = {output.name: output.scale for output in each.outputs}
        parities = compare_all(outputs, answered, each.arithmetic, roundings, scales)
        each.outputs, each.rows = merged(each.outputs, parities), each.rows + asked.rows
    shutil.rmtree(asked.path.parent)


def _as_row(each: _Compared) -> ParityRow:
    of_pyfunc = tuple(o for o in each.row.outputs if o.name.startswith("pyfunc"))
    update = {"rows": each.rows, "outputs": each.outputs + of_pyfunc}
    if each.cause:
        update |= {"status": "failed", "cause": each.cause}
    return each.row.model_copy(update=update)


class _Progress:
    """The progress of a comparison: reported now and then, and written to the resume file."""

    def __init__(
        self,
        stream: RowStream,
        compared: Sequence[_Compared],
        resume: Path | None,
        on_progress: Callable[[str], None],
    ):
        self.compared, self.batches_done = compared, 1
        self._stream, self._file, self._say = stream, resume, on_progress
        self._begun = self._said = time.monotonic()
        stat = stream.path.stat()
        self._key = [str(stream.path), stat.st_size, stat.st_mtime_ns]
        self._load()
        self._rows_before = compared[0].rows

    def _load(self) -> None:
        if self._file is None or not self._file.is_file():
            return
        state = json.loads(self._file.read_text(encoding="utf-8"))
        keys = [each.key() for each in self.compared]
        if state["data"] != self._key or list(state["found"]) != keys:
            return
        self.batches_done = state["batches"]
        for each in self.compared:
            found = state["found"][each.key()]
            each.rows = found["rows"]
            each.outputs = tuple(OutputParity.model_validate(one) for one in found["outputs"])

    def one_more(self) -> None:
        self.batches_done += 1
        now = time.monotonic()
        if now - self._said < _SAY_EVERY_S:
            return
        self._said, rows = now, self.compared[0].rows
        of_all = f" of {self._stream.rows:,}" if self._stream.rows else ""
        pace = (rows - self._rows_before) / (now - self._begun)
        self._say(f"compared {rows:,}{of_all} rows, {pace:,.0f} a second")
        self._save()

    def finished(self) -> None:
        if self._file is not None:
            self._file.unlink(missing_ok=True)

    def _save(self) -> None:
        if self._file is None:
            return
        found = {
            each.key(): {
                "rows": each.rows,
                "outputs": [output.model_dump(mode="json") for output in each.outputs],
            }
            for each in self.compared
        }
        state = {"data": self._key, "batches": self.batches_done, "found": found}
        written = self._file.with_suffix(".part")
        written.write_text(json.dumps(state), encoding="utf-8")
        written.replace(self._file)
