"""The plan of a parity measurement: what is compared, and how thoroughly."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import KW_ONLY, dataclass
from pathlib import Path

from mlflow_onnx_flavor.artifact.saved_model import CandidateFolder
from mlflow_onnx_flavor.inputs import Inputs
from mlflow_onnx_flavor.inputs.readers.streams import RowStream
from mlflow_onnx_flavor.processes.pool import SpareWorkers
from mlflow_onnx_flavor.schemas.evidence import ExecutionProvider, ModelIdentity
from mlflow_onnx_flavor.source.process import SourceModelWorker


@dataclass(frozen=True)
class Plan:
    """The candidates to compare, the source to compare them with, the inputs and the providers.

    ``evaluation`` and ``example``: one of the two may be None.
    ``source_worker``: the source, if it is loaded already; it stays open.
    ``spares``: processes that are ready already.
    ``timeout_s``: the limit for one candidate's answer to one kind of inputs.
    ``probe_seed``: the seed of probes to compare on as well; None to make no probes.
    ``worst_inputs``: a folder to write the rows to that disagree most, as a file that can serve as
    evaluation data; nothing is written if all agree.
    ``more``: large data whose first batch is ``evaluation``; its other batches are compared after
    it, at the largest batch size.
    ``resume``: a file that keeps the progress through ``more`` for the next call.
    ``on_progress``: called with a sentence about each step.
    """

    source_path: Path
    framework: str
    candidates: Sequence[CandidateFolder]
    evaluation: Inputs | None
    example: Inputs | None
    execution_providers: Sequence[ExecutionProvider]
    _: KW_ONLY
    source_identity: ModelIdentity
    batch_sizes: Sequence[int] = (1, 32)
    source_worker: SourceModelWorker | None = None
    spares: SpareWorkers | None = None
    timeout_s: float = 600.0
    probe_seed: int | None = None
    worst_inputs: Path | None = None
    more: RowStream | None = None
    resume: Path | None = None
    on_progress: Callable[[str], None] | None = None

    @property
    def inputs(self) -> tuple[Inputs, ...]:
        """Return the inputs to compare on: evaluation data and example, if they exist."""
        return tuple(rows for rows in (self.evaluation, self.example) if rows is not None)
