"""The parent's side of a source worker: a source model in a child process."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from mlflow_onnx_flavor import frameworks
from mlflow_onnx_flavor.comparison.pyfunc_output import Answer
from mlflow_onnx_flavor.errors import (
    CorruptModelError,
    MissingFrameworkError,
    WorkerError,
    WorkerTaskError,
)
from mlflow_onnx_flavor.inputs import Inputs
from mlflow_onnx_flavor.machine.hardware import memory_bytes
from mlflow_onnx_flavor.machine.scratch import temporary_folder
from mlflow_onnx_flavor.processes.worker import PRELOADED, Worker
from mlflow_onnx_flavor.schemas.configuration import Configuration, SourceEnv
from mlflow_onnx_flavor.source.environment import (
    VersionDifference,
    differences,
    in_words,
    interpreter,
)

LOAD_TIMEOUT_S = 300.0
ANSWER_TIMEOUT_S = 600.0
MEMORY_SHARE = 0.85
TASKS = "mlflow_onnx_flavor.source.tasks"


class SourceModelWorker:
    """A loaded source model in a child process.

        with SourceModelWorker(folder, "sklearn") as source:
            (outputs,) = source.reference(inputs, [(32, inputs.rows)])

    After a crash or a time-out it starts again on the next call.  `versions` are those of the
    framework's distributions.  ``source_env``: the environment of the process, this one or the one
    that the model recorded.  ``memory_limit_bytes``: the resident memory beyond which the process
    is stopped; by default most of this machine's, so that the process is ended and not the release.
    """

    def __init__(
        self,
        folder: Path,
        framework: str,
        source_env: SourceEnv = "current",
        *,
        memory_limit_bytes: float | None = None,
    ):
        self.folder, self.framework, self.source_env = Path(folder), framework, source_env
        self._memory_limit_bytes = int(memory_limit_bytes or MEMORY_SHARE * memory_bytes())
        self.versions: Mapping[str, str] = {}
        self.load_seconds = 0.0
        self.has_pyfunc = self.folder.is_dir()
        self._worker: Worker | None = None
        self._scratch = temporary_folder("source")
        self._saved: dict[str, Path] = {}

    def call(self, task: str, timeout_s: float = ANSWER_TIMEOUT_S, **arguments: Any) -> Any:
        """Run a task of `source.tasks`, with the model loaded, and return its result."""
        if self._worker is None or not self._worker.alive:
            self._start()
        assert self._worker is not None  # it was started
        return self._worker.call(f"{TASKS}:{task}", arguments, timeout_s=timeout_s)

    def reference(
        self, inputs: Inputs, batches: Sequence[tuple[int, int]]
    ) -> list[dict[str, np.ndarray]]:
        """Return every output of the source by name, of shape (rows, ...), for each of ``batches``.

        ``batches``: pairs of a batch size and the number of rows, from the first, to run.
        """
        pairs = [list(pair) for pair in batches]
        return self.call("reference", inputs_path=self.path_of(inputs), batches=pairs)["outputs"]

    def answer(self, inputs: Inputs) -> Answer:
        """Return a description of the source's pyfunc output on ``inputs``."""
        return self.call("answer", inputs_path=self.path_of(inputs))

    def probes(self, inputs: Inputs, candidate: Path, seed: int) -> list[tuple[Inputs, list[str]]]:
        """Return probe inputs for the graph of ``candidate``, and the kind of each row.

        ``candidate``: a model folder or an ``.onnx`` file.
        """
        made = self.call(
            "probe",
            inputs_path=self.path_of(inputs),
            candidate_path=candidate,
            out_path=Path(self._scratch.name) / f"probes-{seed}",
            seed=seed,
        )["probes"]
        return [(Inputs.load(Path(each["path"]), each["origin"]), each["kinds"]) for each in made]

    def layers(self, inputs: Inputs) -> dict[str, np.ndarray]:
        """Return the outputs of the layers inside the source on ``inputs``, by the source's names.

        Return nothing where its framework does not expose them.
        """
        try:
            return self.call("layers", inputs_path=self.path_of(inputs))["layers"]
        except WorkerError:
            return {}

    def path_of(self, inputs: Inputs) -> Path:
        """Return the file from which the worker reads ``inputs``, which is written once."""
        digest = inputs.digest()
        if digest not in self._saved:
            self._saved[digest] = inputs.save_exactly(Path(self._scratch.name) / digest[:16])
        return self._saved[digest]

    @cached_property
    def python(self) -> str:
        """The interpreter of the source's process; its environment is built if needed."""
        extra = frameworks.get(self.framework).extra
        return interpreter(self.folder, extra, self.source_env)

    @cached_property
    def differences(self) -> tuple[VersionDifference, ...]:
        """The recorded pins that the environment of the source's process does not meet."""
        recorded = self.source_env == "recorded" or not self.has_pyfunc
        return () if recorded else differences(self.folder)

    def _advice(self) -> str:
        found = in_words(self.differences, frameworks.get(self.framework).distributions)
        return f"the environments differ ({found}): try --source-env recorded" if found else ""

    def close(self) -> None:
        """End the process and remove its files."""
        if self._worker is not None:
            self._worker.close()
        self._scratch.cleanup()

    def _start(self) -> None:
        if self._worker is not None:
            self._worker.close()
        self._worker = Worker(
            name=f"the {self.framework} process",
            python=self.python,
            memory_limit_bytes=self._memory_limit_bytes,
            preload=PRELOADED,
        )
        try:
            loaded = self._worker.call(
                f"{TASKS}:load",
                {"model_path": self.folder, "framework": self.framework},
                timeout_s=LOAD_TIMEOUT_S,
            )
        except (CorruptModelError, MissingFrameworkError, WorkerTaskError) as error:
            error.advised(self._advice())
            raise
        self.versions, self.load_seconds = loaded["versions"], loaded["load_seconds"]

    def __enter__(self) -> SourceModelWorker:
        return self

    def __exit__(self, *_exc) -> None:
        self.close()


def roundings_by(
    source: Any, inputs: Sequence[Inputs], timeout_s: float = ANSWER_TIMEOUT_S
) -> dict[str, dict[str, Any]]:
    """Return what `source.tasks.rounding` estimates on ``inputs``.

    Return nothing where the source's process fails.
    """
    try:
        paths = [str(source.path_of(rows)) for rows in inputs]
        return source.call("rounding", timeout_s=timeout_s, inputs_paths=paths)
    except WorkerError:
        return {}


def started(folder: Path, framework: str, configuration: Configuration) -> SourceModelWorker:
    """Return a worker for this source within the configured limits; it loads at the first call."""
    gigabytes = configuration.conversion.max_memory_gigabytes
    return SourceModelWorker(
        folder,
        framework,
        configuration.source_env,
        memory_limit_bytes=gigabytes and gigabytes * 1e9,
    )
