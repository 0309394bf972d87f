"""Run a framework's export strategies in order, check each result and record every attempt.

A strategy succeeds only when its model loads in ONNX Runtime and agrees with the source; the first
that succeeds is the conversion.  Each strategy runs in the source worker, so an exporter that
crashes or hangs only adds an entry to the record.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from mlflow_onnx_flavor.errors import (
    ConversionError,
    NotExportableError,
    WorkerCrashedError,
    WorkerOutOfMemoryError,
    WorkerTaskError,
    WorkerTimeoutError,
    one_line,
)
from mlflow_onnx_flavor.inputs import Inputs
from mlflow_onnx_flavor.onnx_graph.files import MODEL_FILE
from mlflow_onnx_flavor.schemas.configuration import SourceEnv
from mlflow_onnx_flavor.schemas.evidence import OutputParity, Seconds
from mlflow_onnx_flavor.schemas.graph import GraphSpec
from mlflow_onnx_flavor.source.environment import VersionDifference
from mlflow_onnx_flavor.source.process import SourceModelWorker, roundings_by

MORE_TIME = "allow more with conversion.timeout_seconds"
MORE_MEMORY = "allow more with conversion.max_memory_gigabytes, or use a machine with more memory"
CHECKED_BATCH_SIZES = (1, 32)
MAX_DISAGREEMENT_RATE = 0.001
_HALF_NOT_MEASURED = (
    "; what half precision rounds is not known, since the model does not run in float64: log it in"
    " float32"
)

Outcome = Literal["converted", "failed", "crashed", "timed out", "wrong answers", "not tried"]


class Attempt(BaseModel):
    """One strategy: its outcome, the cause of a failure, and what could help."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    strategy: str
    why: str
    exporter: str
    exporter_version: str
    seconds: Seconds
    outcome: Outcome
    cause: str = ""
    remedy: str = ""


class Conversion(BaseModel):
    """An ONNX model that agrees with its source, and how it was made.

    ``versions``: versions of the framework and its exporter, where the source ran.
    ``differences``: the model's recorded pins that this environment does not meet.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    path: Path
    strategy: str
    attempts: tuple[Attempt, ...]
    graph: GraphSpec
    framework: str
    versions: dict[str, str]
    opset: int
    source_env: SourceEnv = "current"
    differences: tuple[VersionDifference, ...] = ()

    @property
    def output_names(self) -> tuple[str, ...]:
        """The names of the graph's outputs."""
        return self.graph.outputs


def convert_model(
    model_path: Path,
    framework: str,
    example: Inputs,
    evaluation: Inputs | None,
    out_dir: Path,
    *,
    worker: SourceModelWorker | None = None,
    strategy_timeout_s: float = 600.0,
    opset: int | None = None,
    ir_version: int | None = None,
    metadata: Mapping[str, str] | None = None,
) -> Conversion:
    """Convert the model in ``model_path`` to ``out_dir/model.onnx``.

    ``example``: rows that show the exporter shapes and dtypes.  ``evaluation``: rows on which the
    result must agree as well; they also show an exporter the categories that a model does not keep.
    ``opset``, ``ir_version``: versions to write; the exporter's where None.  ``metadata``: metadata
    to write to the file besides strategy and versions; a source that is ONNX already gets none.

    Raises ConversionError with every attempt where no strategy succeeds.
    """
    source = worker or SourceModelWorker(model_path, framework)
    try:
        finishing = {"opset": opset, "ir_version": ir_version, "metadata": dict(metadata or {})}
        return _convert(source, example, evaluation, out_dir, strategy_timeout_s, finishing)
    finally:
        if worker is None:
            source.close()


def _convert(
    source: SourceModelWorker,
    example: Inputs,
    evaluation: Inputs | None,
    out_dir: Path,
    timeout_s: float,
    finishing: dict[str, Any],
) -> Conversion:
    inputs = [each for each in (example, evaluation) if each is not None]
    paths = {
        "example_path": source.path_of(example),
        "evaluation_path": None
        if evaluation is None or evaluation is example
        else source.path_of(evaluation),
    }
    planned = source.call("plan", **paths)["strategies"]
    roundings = roundings_by(source, inputs, timeout_s)
    attempts: list[Attempt] = []
    for number, strategy in enumerate(planned):
        path = out_dir / str(number) / MODEL_FILE
        path.parent.mkdir(parents=True, exist_ok=True)
        attempt, exported = _attempt(
            source, strategy, path, paths, inputs, roundings, timeout_s, finishing
        )
        attempts.append(attempt)
        if exported is None:
            shutil.rmtree(path.parent)
        if exported is not None:
            attempts += [_not_tried(each) for each in planned[number + 1 :]]
            return Conversion(
                path=_moved(path, out_dir),
                strategy=strategy["name"],
                attempts=tuple(attempts),
                graph=GraphSpec.model_validate(exported["graph"]),
                framework=source.framework,
                versions=dict(source.versions),
                opset=exported["opset"],
                source_env=source.source_env,
                differences=source.differences,
            )
    raise ConversionError(_failure(source.framework, attempts), tuple(attempts))


def _attempt(
    source: SourceModelWorker,
    strategy: dict[str, str],
    path: Path,
    paths: Mapping[str, Path | None],
    inputs: Sequence[Inputs],
    roundings: dict[str, dict[str, Any]],
    timeout_s: float,
    finishing: dict[str, Any],
) -> tuple[Attempt, dict[str, Any] | None]:
    begun_ns = time.perf_counter_ns()
    exported, outcome, cause, remedy = None, "converted", "", ""
    try:
        exported = source.call(
            "export",
            timeout_s=timeout_s,
            strategy=strategy["name"],
            out_path=path,
            finishing=_told(finishing, source, strategy),
            **paths,
        )
        cause = _disagreement(source, path, exported["graph"], inputs, roundings, timeout_s)
        outcome = "wrong answers" if cause else "converted"
        cause = "; ".join(filter(None, [cause, *exported["doubts"]]))
    except WorkerTimeoutError as error:
        outcome, cause, remedy = "timed out", str(error), MORE_TIME
    except WorkerOutOfMemoryError as error:
        outcome, cause, remedy = "crashed", str(error), MORE_MEMORY
    except WorkerCrashedError as error:
        outcome, cause = "crashed", str(error)
    except NotExportableError as error:
        outcome, cause, remedy = "failed", error.cause, error.remedy
    except WorkerTaskError as error:
        outcome, cause = "failed", one_line(error)
    attempt = Attempt(
        strategy=strategy["name"],
        why=strategy["why"],
        exporter=strategy["exporter"],
        exporter_version=strategy["exporter_version"],
        seconds=(time.perf_counter_ns() - begun_ns) / 1e9,
        outcome=outcome,
        cause=cause,
        remedy=remedy,
    )
    return attempt, exported if outcome == "converted" else None


def _told(
    finishing: dict[str, Any], source: SourceModelWorker, strategy: dict[str, str]
) -> dict[str, Any]:
    """Return ``finishing`` with strategy and versions among the metadata."""
    if source.framework == "onnx":  # the file keeps its bytes, unless a version is requested
        return finishing | {"metadata": {}}
    versions = ", ".join(f"{name} {version}" for name, version in source.versions.items())
    own = {"framework": source.framework, "strategy": strategy["name"], "versions": versions}
    return finishing | {"metadata": finishing["metadata"] | own}


def _disagreement(
    source: SourceModelWorker,
    path: Path,
    graph: dict[str, Any],
    inputs: Sequence[Inputs],
    roundings: dict[str, dict[str, Any]],
    timeout_s: float,
) -> str:
    """Return one clause on how the answers differ from the source's; "" where they agree."""
    for rows in inputs:
        for record in source.call(
            "check",
            timeout_s=timeout_s,
            path=path,
            graph=graph,
            inputs_path=source.path_of(rows),
            batch_sizes=list(CHECKED_BATCH_SIZES),
            roundings=roundings,
        ):
            output = OutputParity.model_validate(record)
            wrong = output.disagreements(output.auto_tolerance)
            if wrong > MAX_DISAGREEMENT_RATE * output.rows:
                basis = roundings.get(output.name, {}).get("basis")
                unknown = output.source_dtype == "float16" and basis != "float64"
                return (
                    f"{wrong} of {output.rows} rows of the {rows.origin} differ in {output.name}"
                    f" (largest error {output.max_absolute_error:.2g})"
                    f"{_HALF_NOT_MEASURED if unknown else ''}"
                )
    return ""


def _not_tried(strategy: dict[str, str]) -> Attempt:
    return Attempt(**strategy_fields(strategy), seconds=0.0, outcome="not tried")


def strategy_fields(strategy: dict[str, str]) -> dict[str, str]:
    """Return the fields of an `Attempt` that describe its strategy."""
    return {
        "strategy": strategy["name"],
        "why": strategy["why"],
        "exporter": strategy["exporter"],
        "exporter_version": strategy["exporter_version"],
    }


def _moved(path: Path, out_dir: Path) -> Path:
    """Move ``model.onnx`` and its external data directly below ``out_dir``; return its path."""
    for file in path.parent.iterdir():
        file.replace(out_dir / file.name)
    path.parent.rmdir()
    return out_dir / MODEL_FILE


def _failure(framework: str, attempts: list[Attempt]) -> str:
    if not attempts:
        return f"no export strategy is known for this {framework} model"
    tried = "; ".join(
        "; ".join(filter(None, (f"{each.strategy}: {each.outcome}, {each.cause}", each.remedy)))
        for each in attempts
    )
    return f"the {framework} model could not be converted to a right ONNX model ({tried})"
