"""The converted model with session settings that were measured to be faster on this machine."""

from __future__ import annotations

from pathlib import Path

from mlflow_onnx_flavor.candidates.base import Built, CandidateError, Measuring

name = "tuned"
measured = True


def build(converted: Path, out: Path, measuring: Measuring | None = None) -> Built:
    """Copy the file and tune its session; raise CandidateError where the default is as fast."""
    from mlflow_onnx_flavor.inputs import Inputs
    from mlflow_onnx_flavor.latency.tuning import tune
    from mlflow_onnx_flavor.onnx_graph.files import copy_model
    from mlflow_onnx_flavor.schemas.tuning import description

    if measuring is None:
        raise CandidateError("nothing to measure it on: give it inputs")
    copy_model(converted, out)
    tuning = tune(
        out,
        measuring.graph.model_dump(mode="json"),
        Inputs.load(measuring.inputs),
        measuring.provider.model_dump(),
        measuring.batch_sizes,
        measuring.confidence,
        measuring.seconds,
    )
    if not tuning.chosen:
        raise CandidateError(
            "no settings are faster than onnxruntime's own beyond the interval:"
            f" {description(tuning)}"
        )
    return Built(
        f"with {description(tuning)}", tuning.best or {}, details=tuning.model_dump(mode="json")
    )
