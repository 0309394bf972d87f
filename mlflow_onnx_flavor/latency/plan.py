"""What a latency measurement is about, and how long it takes."""

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
    """Which candidates are timed against which source, on what, and for how long.

    ``batch_sizes``: rows a call; ``inputs`` are repeated where they are fewer.
    ``budget_seconds``: the most time to spend in rounds; less where every interval reaches
    ``precision`` before, more where slow models need it for the fewest rounds that make an
    interval.
    ``options``: what else to measure.
    ``champion``: what serves now, a baseline beside the source.
    ``spares``: processes that are ready already.
    ``source_python``: the interpreter that the source runs on.
    ``on_progress``: is called with a sentence on what is done.
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
