"""The graph as ONNX Runtime optimizes it, saved: fused operators, constants folded.

Only what holds on any hardware (the "extended" level) is saved, since the artifact may be served on
another machine; what depends on the hardware is done when it is loaded.
"""

from __future__ import annotations

from pathlib import Path

from mlflow_onnx_flavor.candidates.base import Built, CandidateError

name = "fused"


def build(converted: Path, out: Path) -> Built:
    """Save the optimized graph; CandidateError where it has the operators that it had before."""
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
    options.optimized_model_filepath = str(out)
    options.log_severity_level = 3
    ort.InferenceSession(str(converted), options, providers=["CPUExecutionProvider"])
    before, after = _operators(converted), _operators(out)
    if before == after:
        raise CandidateError("ONNX Runtime finds nothing to fuse: the graph stays as converted")
    return Built(f"ONNX Runtime's fused graph, {len(before)} nodes to {len(after)}")


def _operators(path: Path) -> list[str]:
    import onnx

    graph = onnx.load(str(path), load_external_data=False).graph
    return sorted(f"{node.domain}:{node.op_type}" for node in graph.node)
