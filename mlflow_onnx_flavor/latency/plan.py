"""The plan of a latency measurement: what is measured, and for how long."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import KW_ONLY, dataclass, field
from pathlib import Path

from mlflow_onnx_flavor.artifact.saved_model import CandidateFolder
from mlflow_onnx_flavor.inputs import Inputs
from mlflow_onnx_flavor.latency.statistics import Precision
from mlflow_onnx_flavor.processes.pool import SpareWorkers
from mlflow_onnx_flavor.schemas.configuration import LatencyOptions
from mlflow_onnx_flavor.schemas.evidence import ExecutionProvider, ModelIdentity


@dataclass(frozen=True)
class Plan:
    """The candidates to time, the source to compare them with, the inputs and the time to spend.

    ``batch_sizes``: rows in a call; ``inputs`` are repeated if there are fewer.
    ``budget_seconds``: the most time to spend in rounds.  Measuring ends sooner if every interval
    reaches ``precision``; it takes longer if slow models need it for the fewest rounds that give an
    interval.
    ``options``: what else to measure.
    ``champion``: the model that serves now, a baseline beside the source.
    ``spares``: processes that are ready already.
    ``source_python``: the interpreter that runs the source.
    ``on_progress``: called with a sentence about each step.
    """

    source_path: Path
    framework: str
    candidates: Sequence[CandidateFolder]
    inputs: Inputs
    execution_providers: Sequence[ExecutionProvider]
    _: KW_ONLY
    batch_sizes: Sequence[int]
    confidence: float
    budget_seconds: float
    source_identity: ModelIdentity
    options: LatencyOptions = field(default_factory=LatencyOptions)
    champion: CandidateFolder | None = None
    precision: Precision = field(default_factory=Precision)
    spares: SpareWorkers | None = None
    source_python: str = sys.executable
    on_progress: Callable[[str], None] | None = None
