"""`ReleaseContext`: the state that the steps of a release share within one process.

Each step of a release can run alone, on any machine, from the id of the run before it; it then
makes a context of its own.  Steps that run one after another in one process share a context, so
that the source is fetched, hashed and loaded once, and records and rows are read once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar, cast

from pydantic import BaseModel

from mlflow_onnx_flavor.inputs import Inputs
from mlflow_onnx_flavor.inputs.readers.streams import RowStream
from mlflow_onnx_flavor.pipeline.runs import read_record
from mlflow_onnx_flavor.processes.pool import SpareWorkers
from mlflow_onnx_flavor.schemas.configuration import Configuration
from mlflow_onnx_flavor.schemas.records import SOURCE, DataRecord, SourceRecord
from mlflow_onnx_flavor.source.model import SourceModel, resolve_source
from mlflow_onnx_flavor.source.process import SourceModelWorker, started
from mlflow_onnx_flavor.tracking.downloads import download

Record = TypeVar("Record", bound=BaseModel)
Rows = tuple[Inputs | None, Inputs | None]


class ReleaseContext:
    """The state of a release within one process.

    ``spares``: processes for candidates that are started ahead of use.  ``on_progress``: called
    with a sentence about the progress of the step.
    """

    def __init__(
        self, configuration: Configuration, on_progress: Callable[[str], None] | None = None
    ):
        self.configuration = configuration
        self.on_progress = on_progress
        self.spares = SpareWorkers()
        self._worker: SourceModelWorker | None = None
        self._records: dict[tuple[str, str], BaseModel] = {}
        self._sources: dict[str, SourceModel] = {}
        self._rows: dict[str, Rows] = {}

    def record(self, run_id: str, name: str, kind: type[Record]) -> Record:
        """Return what `read_record` reads, read once: the records of a step do not change."""
        if (run_id, name) not in self._records:
            self._records[run_id, name] = read_record(run_id, name, kind)
        return cast(Record, self._records[run_id, name])

    def source_record(self, run_id: str) -> SourceRecord:
        """Return the record that log_source wrote to run ``run_id``."""
        return self.record(run_id, SOURCE, SourceRecord)

    def keep_source(self, record: SourceRecord, source: SourceModel) -> None:
        """Keep ``source`` for later steps, if the URI in ``record`` leads to exactly that model.

        A source in a local folder is logged, and later steps read the logged copy; it is not kept.
        """
        self._records[record.run_id, SOURCE] = record
        if (record.model_uri, record.digest) == (source.resolved_uri, source.digest):
            self._sources[record.model_uri] = source

    def source(self, record: SourceRecord) -> SourceModel:
        """Return the source model that log_source recorded."""
        if record.model_uri not in self._sources:
            source = resolve_source(record.model_uri, self.configuration.source_env)
            self._sources[record.model_uri] = source
        return self._sources[record.model_uri]

    def rows(self, record: SourceRecord) -> Rows:
        """Return the evaluation data and the input example, as log_source stored them."""
        if record.run_id not in self._rows:
            self._rows[record.run_id] = (
                _load(record, record.evaluation),
                _load(record, record.example),
            )
        return self._rows[record.run_id]

    def more_rows(self, record: SourceRecord) -> RowStream | None:
        """Return the whole of large evaluation data, as log_source stored it.

        Return None where the evaluation data is not large, or there is none.
        """
        if record.evaluation is None or not record.evaluation.whole:
            return None
        file = download(f"runs:/{record.run_id}/{record.evaluation.whole}")
        return RowStream(file, self.source(record).signature)

    @contextmanager
    def source_process(self, record: SourceRecord) -> Iterator[SourceModelWorker]:
        """Yield the source model in a child process, which steps within the block share.

        The process loads the model at the first call, and ends with the outermost block.
        """
        if self._worker is not None:
            yield self._worker
            return
        source = self.source(record)
        with started(source.folder, source.framework, self.configuration) as worker:
            self._worker = worker
            try:
                yield worker
            finally:
                self._worker = None


def _load(record: SourceRecord, kept: DataRecord | None) -> Inputs | None:
    if kept is None:
        return None
    return Inputs.load(download(f"runs:/{record.run_id}/{kept.artifact}"), kept.origin)
