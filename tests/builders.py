"""What several tests are about: providers, identities, specifications, configurations, rows."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from mlflow_onnx_flavor.artifact.saved_model import CandidateFolder
from mlflow_onnx_flavor.schemas.configuration import Configuration
from mlflow_onnx_flavor.schemas.evidence import ExecutionProvider, ModelIdentity
from mlflow_onnx_flavor.schemas.graph import (
    FeedSpec,
    GraphSpec,
    PredictionPart,
    PredictionSpec,
)

CPU = ExecutionProvider(name="CPUExecutionProvider")
OPENVINO = ExecutionProvider(name="OpenVINOExecutionProvider")
# OpenVINO's option by which it computes in float32 where the CPU could do bf16.
IN_FLOAT32 = '{"CPU": {"INFERENCE_PRECISION_HINT": "f32"}}'

WITHOUT_PROBES = Configuration.model_validate({"probes": {"enabled": False}})
# The configuration of a release that is about something else than what it measures.
QUICK_RELEASE = """
execution_providers: [CPUExecutionProvider]
gates: {latency: {min_speedup: 0, max_regression: 1, batch_sizes: [1]}}
latency: {offline_batch_sizes: []}
candidates: [converted]
probes: {enabled: false}
budget: {seconds: 0.5}
"""

# Seconds since 1970 with fractions, identifiers, ordinary numbers and tiny ones.
SCALES, SHIFTS = np.array([1e5, 1e10, 1.0, 1e-9]), np.array([1.7e9, 1e12, 0.0, 0.0])


def identity(name: str) -> ModelIdentity:
    """Return what names a model in a report."""
    return ModelIdentity(name=name, uri=f"models:/m-{name}", digest="sha256:0")


def candidate(name: str, folder: Path) -> CandidateFolder:
    """Return the candidate ``name``, a saved model or a bare file."""
    return CandidateFolder(identity(name), folder)


def tensor_spec(columns: int) -> GraphSpec:
    """Return the specification of a graph from a float32 tensor x to y, of so many columns."""
    return _spec(FeedSpec(name="x", layout="tensor", dtype="float32"), columns)


def matrix_spec(*names: str) -> GraphSpec:
    """Return the specification of a graph from the named columns, as matrix x, to y."""
    feed = FeedSpec(name="x", layout="matrix", dtype="float32", columns=names)
    return _spec(feed, len(names))


def _spec(feed: FeedSpec, columns: int) -> GraphSpec:
    part = PredictionPart(output="y", dtype="float32", shape=(columns,))
    return GraphSpec(
        feeds=(feed,),
        prediction=PredictionSpec(container="ndarray", parts=(part,)),
        outputs=("y",),
    )


def scaled_rows(rows: int = 400, seed: int = 0) -> np.ndarray:
    """Return four columns of very different scales, for trees that compare in a float type."""
    return np.random.default_rng(seed).normal(size=(rows, 4)) * SCALES + SHIFTS


def scaled_target(rows: np.ndarray) -> np.ndarray:
    """Return what a model of `scaled_rows` learns; missing and infinite values count as 0."""
    unit = np.nan_to_num((rows - SHIFTS) / SCALES)
    return unit[:, 0] + unit[:, 1] * unit[:, 2] - unit[:, 3] ** 2


def with_missing(rows: np.ndarray) -> np.ndarray:
    """Return the rows with about every seventh value missing."""
    changed = rows.copy()
    changed[np.random.default_rng(7).random(rows.shape) < 0.15] = np.nan
    return changed
