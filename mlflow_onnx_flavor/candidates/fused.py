"""The graph as ONNX Runtime optimizes it, saved: fused operators, constants folded.

Only optimizations that are valid on any hardware (the "extended" level) are saved, since the
artifact may be served on another machine.  Those that depend on the hardware (blocked layouts for
convolutions, for example) are still made when it is loaded, so its session keeps the default
options: with optimization switched off a convolutional network takes twice the time.
"""

from __future__ import annotations

from pathlib import Path

from mlflow_onnx_flavor.candidates.base import Built, CandidateError, Measuring
from mlflow_onnx_flavor.errors import one_line
from mlflow_onnx_flavor.onnx_graph.external_data import MAX_INLINE_BYTES, data_files, total_bytes
from mlflow_onnx_flavor.onnx_graph.operators import count_operators
from mlflow_onnx_flavor.scoring.runtimes import CPU

name = "fused"

_SAVED_WEIGHTS = "session.optimized_model_external_initializers_file_name"
_SAVED_WEIGHTS_FROM = "session.optimized_model_external_initializers_min_size_in_bytes"


def build(converted: Path, out: Path, measuring: Measuring | None = None) -> Built:
    """Save the optimized graph; raise CandidateError where its operators are unchanged."""
    import onnx
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
    options.optimized_model_filepath = str(out)
    options.log_severity_level = 3
    if data_files(converted) or total_bytes(converted) > MAX_INLINE_BYTES:
        # Otherwise the saved graph refers to weight files in the folder of the converted model.
        options.add_session_config_entry(_SAVED_WEIGHTS, f"{out.name}.data")
        options.add_session_config_entry(_SAVED_WEIGHTS_FROM, "1024")
    ort.InferenceSession(str(converted), options, providers=[CPU])
    before, after = count_operators(converted), count_operators(out)
    if before == after:
        raise CandidateError(
            "nothing to fuse: what ONNX Runtime saves is the same graph as converted"
        )
    try:
        onnx.checker.check_model(str(out))
    except onnx.checker.ValidationError as error:
        raise CandidateError(
            f"ONNX Runtime's fused graph does not pass ONNX's checker, so mlflow.onnx could not"
            f" load it: {one_line(error)}"
        ) from error
    return Built(f"ONNX Runtime's fused graph, {before.total()} nodes to {after.total()}")
