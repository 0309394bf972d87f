"""The parent's side of a source worker: a source model that answers, in a process of its own."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mlflow_onnx_flavor.answers import Answer
from mlflow_onnx_flavor.inputs import Inputs
from mlflow_onnx_flavor.worker import Worker

LOAD_TIMEOUT_S = 300.0
ANSWER_TIMEOUT_S = 600.0
TASKS = "mlflow_onnx_flavor.source_worker"


class SourceModelWorker:
    """A loaded source model in a child process.

        with SourceModelWorker(folder, "sklearn") as source:
            (outputs,) = source.reference(inputs, [(32, inputs.rows)])

    After a crash or a time-out it starts again on the next call; `versions` are those of the
    framework's distributions.
    """

    def __init__(self, folder: Path, framework: str):
        self.folder, self.framework = Path(folder), framework
        self.versions: Mapping[str, str] = {}
        self.load_seconds = 0.0
        self.has_pyfunc = self.folder.is_dir()
        self._worker: Worker | None = None
        self._scratch = tempfile.TemporaryDirectory(prefix="mlflow-onnx-source-")
        self._saved: dict[str, Path] = {}

    def call(self, task: str, timeout_s: float = ANSWER_TIMEOUT_S, **arguments: Any) -> Any:
        """Run a task of `source_worker`, with the model loaded."""
        if self._worker is None or not self._worker.alive:
            self._start()
        return self._worker.call(f"{TASKS}:{task}", arguments, timeout_s=timeout_s)

    def reference(
        self, inputs: Inputs, batches: Sequence[tuple[int, int]]
    ) -> list[dict[str, np.ndarray]]:
        """Every output of the source by name, each of shape (rows, ...), for each of ``batches``.

        ``batches``: pairs of a batch size and the number of rows, from the first, to answer.
        """
        pairs = [list(pair) for pair in batches]
        return self.call("reference", inputs_path=self.path_of(inputs), batches=pairs)["outputs"]

    def answer(self, inputs: Inputs) -> Answer:
        """What the source's pyfunc answers."""
        return self.call("answer", inputs_path=self.path_of(inputs))

    def path_of(self, inputs: Inputs) -> Path:
        """Where the worker finds ``inputs``; written once."""
        digest = inputs.digest()
        if digest not in self._saved:
            self._saved[digest] = inputs.save(Path(self._scratch.name) / digest[:16])
        return self._saved[digest]

    def close(self) -> None:
        if self._worker is not None:
            self._worker.close()
        self._scratch.cleanup()

    def _start(self) -> None:
        if self._worker is not None:
            self._worker.close()
        self._worker = Worker(name=f"the {self.framework} process")
        loaded = self._worker.call(
            f"{TASKS}:load",
            {"model_path": self.folder, "framework": self.framework},
            timeout_s=LOAD_TIMEOUT_S,
        )
        self.versions, self.load_seconds = loaded["versions"], loaded["load_seconds"]

    def __enter__(self) -> SourceModelWorker:
        return self

    def __exit__(self, *_exc) -> None:
        self.close()
